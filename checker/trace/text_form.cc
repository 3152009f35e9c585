#include "checker/trace/text_form.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/unknown_field_set.h>

#include "checker/trace/event_kinds.h"
#include "checker/trace/wire.h"
#include "mmucheck/v1/packet.pb.h"

namespace mmucheck::trace {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::TextFormat;

class HexPrinter final : public TextFormat::FastFieldValuePrinter {
 public:
  void PrintUInt64(google::protobuf::uint64 value,
                   TextFormat::BaseTextGenerator* out) const override {
    out->PrintString(value < 10 ? fmt::format("{}", value) : fmt::format("{:#x}", value));
  }
};

class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstError(TextError& error) : error_(error) {}
  void AddError(int line, int column, const std::string& message) override {
    if (!error_.message.empty()) return;
    error_.line = line < 0 ? 0 : static_cast<uint64_t>(line) + 1;
    error_.message = column < 0 ? message : fmt::format("column {}: {}", column + 1, message);
  }

 private:
  TextError& error_;
};

bool has_unknown(const v1::Packet& packet) {
  const auto* reflection = packet.GetReflection();
  if (!reflection->GetUnknownFields(packet).empty()) return true;
  const auto* body =
      reflection->GetOneofFieldDescriptor(packet, packet.GetDescriptor()->FindOneofByName("body"));
  if (body == nullptr) return false;
  const auto& message = reflection->GetMessage(packet, body);
  return !message.GetReflection()->GetUnknownFields(message).empty();
}

}  // namespace

struct TextPrinter::Impl {
  TextFormat::Printer printer;
  v1::Packet packet;
};

TextPrinter::TextPrinter() : impl_(std::make_unique<Impl>()) {
  impl_->printer.SetSingleLineMode(true);
  impl_->printer.SetHideUnknownFields(true);
  const Descriptor* packet = v1::Packet::descriptor();
  for (const KindInfo& info : all_kinds()) {
    const Descriptor* body = packet->FindFieldByName(std::string(info.name))->message_type();
    for (size_t i = 0; i < info.fields.size(); ++i) {
      if (info.fields[i].type != FieldType::kHex) continue;
      // The printer owns what it accepts.
      auto hex = std::make_unique<HexPrinter>();
      if (impl_->printer.RegisterFieldValuePrinter(body->FindFieldByNumber(static_cast<int>(i) + 1),
                                                   hex.get())) {
        (void)hex.release();
      }
    }
  }
}

TextPrinter::~TextPrinter() = default;

std::string TextPrinter::print(std::string_view packet, bool& dropped) {
  std::string text;
  dropped = !impl_->packet.ParseFromArray(packet.data(), static_cast<int>(packet.size())) ||
            has_unknown(impl_->packet);
  impl_->printer.PrintToString(impl_->packet, &text);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return fmt::format("packet {{ {} }}\n", text);
}

bool parse_text(std::string_view text, std::vector<std::string>& packets, TextError& error) {
  v1::TraceFile file;
  FirstError collector(error);
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&collector);
  parser.SetRecursionLimit(8);
  google::protobuf::io::ArrayInputStream input(text.data(), static_cast<int>(text.size()));
  if (!parser.Parse(&input, &file)) {
    if (error.message.empty()) error.message = "not a trace in text format";
    return false;
  }
  for (const v1::Packet& packet : file.packet()) packets.push_back(packet.SerializeAsString());
  return true;
}

}  // namespace mmucheck::trace
