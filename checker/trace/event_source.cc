#include "checker/trace/event_source.h"

#include <fmt/format.h>

#include <utility>

namespace mmucheck::trace {
namespace {

std::string describe(const TraceError::Where& where, const std::string& message) {
  std::string out = where.file;
  const auto add = [&out](std::string_view what, uint64_t number) {
    out +=
        fmt::format("{}{} {}", out.empty() ? "" : (out.back() == ':' ? " " : ", "), what, number);
  };
  if (!out.empty()) out += ':';
  if (where.packet != 0) add("packet", where.packet);
  if (where.line != 0) add("line", where.line);
  if (where.offset >= 0) add("byte", static_cast<uint64_t>(where.offset));
  if (out.empty()) return message;
  if (out.back() != ':') out += ':';
  return out + ' ' + message;
}

}  // namespace

TraceError::TraceError(TraceErrorKind kind, Where where, const std::string& message)
    : std::runtime_error(describe(where, message)),
      kind_(kind),
      where_(std::move(where)),
      message_(message) {}

}  // namespace mmucheck::trace
