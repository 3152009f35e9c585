// Layer: checker/trace, tests only. Contract: scratch directories, and traces written to bytes.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "checker/trace/event_source.h"
#include "checker/trace/open_trace.h"

namespace mmucheck::trace {

class ScratchDir {
 public:
  ScratchDir() {
    std::string name = (std::filesystem::temp_directory_path() / "trace-test.XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~ScratchDir() { std::filesystem::remove_all(path_); }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  size_t entries() const {
    size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) n += entry.exists();
    return n;
  }

 private:
  std::filesystem::path path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The file that a sink of this name ("x.pb", "x.txtpb.zst") writes for these events.
inline std::string written(const std::string& name, const TraceInfo& info,
                           const std::vector<Event>& events) {
  const ScratchDir dir;
  const auto sink = create_trace(dir.file(name), info);
  for (const Event& event : events) sink->put(event);
  sink->close();
  return slurp(dir.file(name));
}

inline std::unique_ptr<EventSource> opened(std::string bytes, const OpenOptions& options = {}) {
  return open_trace(ByteStream::from_memory(std::move(bytes), "t"), own_formats(), options);
}

// An event of `kind` with fields 0.. set to `values`.
inline Event event_of(EventKind kind, std::initializer_list<uint64_t> values = {}) {
  Event event;
  start_event(event, kind);
  size_t i = 0;
  for (const uint64_t value : values) event.set(i++, value);
  return event;
}

}  // namespace mmucheck::trace
