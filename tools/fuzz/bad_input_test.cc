// Input that is no trace, half a trace or a hostile one, through the program as a user runs it:
// exit 3 with one clear line, or a verdict; never a crash, never much memory, never half an output.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "checker/trace/byte_stream.h"

namespace mmucheck {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecording = "traces/recorded/full-thp/trace.txt.xz";
constexpr long kMaxResidentKb = 512 * 1024;
constexpr rlim_t kMaxCpuSeconds = 100;
constexpr size_t kStep = 1000;  // bytes between two truncations
const std::vector<std::string> kCommands{"replay", "show", "stats", "convert"};

struct Result {
  int code = -1;  // of the exit; -1: ended by a signal
  long resident_kb = 0;
  std::string err;
};

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class BadInput : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mmucheck-bad.XXXXXX").string();
    dir_ = ::mkdtemp(name.data());
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }

  std::string put(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

  Result run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), MMUCHECK_BINARY);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const std::string err = path("stderr");
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit limit{kMaxCpuSeconds, kMaxCpuSeconds};
      ::setrlimit(RLIMIT_CPU, &limit);
      const int null = ::open("/dev/null", O_RDWR);
      const int file = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(null, 0);
      ::dup2(null, 1);
      ::dup2(file, 2);
      ::execv(argv[0], argv.data());
      ::_exit(126);
    }
    Result result;
    int status = 0;
    rusage usage{};
    ::wait4(child, &status, 0, &usage);
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.resident_kb = usage.ru_maxrss;
    result.err = content(err);
    return result;
  }

  Result command(const std::string& name, const std::string& input) const {
    std::vector<std::string> arguments{name, input};
    if (name == "convert") arguments.insert(arguments.end(), {"-o", path("out.pb")});
    return run(arguments);
  }

  // What holds whatever comes in.
  void check(const std::string& name, const Result& r, const std::string& what) const {
    const bool documented = r.code == 0 || r.code == 1 || r.code == 3 || r.code == 4 ||
                            r.code == 5 || r.code == 7;
    EXPECT_TRUE(documented) << name << " " << what << ": exit " << r.code << "\n" << r.err;
    EXPECT_LT(r.resident_kb, kMaxResidentKb) << name << " " << what;
    if (r.code == 3) {
      EXPECT_EQ(r.err.rfind("mmucheck: ", 0), 0u) << name << " " << what << "\n" << r.err;
      EXPECT_FALSE(fs::exists(path("out.pb"))) << name << " " << what;
    }
    for (const auto& entry : fs::directory_iterator(dir_)) {
      EXPECT_EQ(entry.path().filename().string().find("out.pb."), std::string::npos)
          << name << " " << what << " left " << entry.path();
    }
    fs::remove(path("out.pb"));
  }

  void refused_by_all(const std::string& input, const std::string& what) const {
    for (const std::string& name : kCommands) {
      const Result result = command(name, input);
      EXPECT_EQ(result.code, 3) << name << " " << what;
      check(name, result, what);
    }
  }

  void survived_by_all(const std::string& input, const std::string& what) const {
    for (const std::string& name : kCommands) check(name, command(name, input), what);
  }

  std::string packets() const {
    EXPECT_EQ(run({"convert", kRecording, "-o", path("whole.pb")}).code, 0);
    return content(path("whole.pb"));
  }

 private:
  fs::path dir_;
};

TEST_F(BadInput, TruncatedPacketsAreRefusedAtEveryLength) {
  const std::string whole = packets();
  ASSERT_GT(whole.size(), 10 * kStep);
  for (size_t size = 0; size < whole.size(); size += kStep) {
    refused_by_all(put("cut.pb", whole.substr(0, size)), "cut at " + std::to_string(size));
  }
  refused_by_all(put("cut.pb", whole.substr(0, whole.size() - 1)), "without its last byte");
}

TEST_F(BadInput, TruncatedCompressedTextIsRefusedAtEveryLength) {
  const std::string whole = content(kRecording);
  ASSERT_GT(whole.size(), 5 * kStep);
  for (size_t size = 0; size < whole.size(); size += kStep) {
    refused_by_all(put("trace.txt.xz", whole.substr(0, size)), "cut at " + std::to_string(size));
  }
}

TEST_F(BadInput, TruncatedTextIsReadAsFarAsItGoes) {
  std::string whole;
  {
    trace::ByteStream stream(kRecording);
    for (std::string_view s; !(s = stream.peek(1)).empty(); stream.consume(s.size())) whole += s;
  }
  for (size_t size = kStep; size < whole.size(); size += 20 * kStep) {
    survived_by_all(put("trace.txt", whole.substr(0, size)), "cut at " + std::to_string(size));
  }
}

TEST_F(BadInput, FlippedBits) {
  const std::string packet_bytes = packets(), text = content(kRecording);
  std::mt19937_64 random(1);
  for (int i = 0; i < 60; ++i) {
    const bool binary = i % 2 == 0;
    std::string bytes = binary ? packet_bytes : text;
    const size_t at = random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    const std::string what = "bit flipped in byte " + std::to_string(at);
    const std::string file = put(binary ? "flip.pb" : "trace.txt.xz", bytes);
    for (const std::string& name : kCommands) {
      const Result result = command(name, file);
      // A hash over everything: no flip of a bit passes.
      if (binary) {
        EXPECT_EQ(result.code, 3) << name << " " << what;
      }
      check(name, result, what);
    }
  }
}

TEST_F(BadInput, WhatIsNoTrace) {
  refused_by_all(put("empty", ""), "an empty file");
  refused_by_all(path(""), "a directory");
  refused_by_all("/dev/zero", "/dev/zero");
  refused_by_all(path("absent"), "no such file");
  refused_by_all(put("noise", std::string(100000, '\xa5')), "noise");
  const std::string sparse = put("sparse", "");
  fs::resize_file(sparse, uintmax_t{10} << 30);
  refused_by_all(sparse, "10 GB of zeros");
  const std::string tail = put("tail.pb", packets());
  fs::resize_file(tail, uintmax_t{10} << 30);
  refused_by_all(tail, "packets, then 10 GB of zeros");
  const std::string hole = put("hole.txt", "# tracer: nop\n");
  fs::resize_file(hole, uintmax_t{10} << 30);
  refused_by_all(hole, "text, then 10 GB of zeros");
}

TEST_F(BadInput, AFutureVersionIsRefusedWithItsNumber) {
  const std::string text = put("future.txtpb", "packet { header { format_major: 9 } }\n");
  refused_by_all(text, "a future text");
  EXPECT_NE(command("replay", text).err.find('9'), std::string::npos);
  // The header is the first packet after the magic; its major version the byte after tag 0x08.
  std::string bytes = packets();
  const size_t at = bytes.find(std::string("\x08\x01", 2), 8);
  ASSERT_LT(at, size_t{32});
  bytes[at + 1] = 9;
  const std::string binary = put("future.pb", bytes);
  refused_by_all(binary, "a future binary");
  EXPECT_NE(command("replay", binary).err.find('9'), std::string::npos);
}

TEST_F(BadInput, ALineOfAMegabyte) {
  std::string text = "# tracer: nop\n";
  text += " kvmload-61 [000] .....  6.000001: init_vm: (kvm_mmu_init_vm+0x4/0xf0) "
          "kvm=0xffffc90000109000 vm_type=5\n";
  text += " kvmload-61 [000] .....  6.000002: init_vm: " + std::string(1 << 20, 'x') + "\n";
  survived_by_all(put("long.txt", text), "a line of a megabyte");
  survived_by_all(put("long.txtpb", "# " + std::string(1 << 20, 'x') + "\npacket { }\n"),
                  "a comment of a megabyte");
}

TEST_F(BadInput, AMillionVms) {
  std::string text = "# tracer: nop\n";
  for (uint64_t i = 0; i < 1000000; ++i) {
    char line[160];
    std::snprintf(line, sizeof line,
                  " kvmload-61 [000] .....  %llu.%06llu: init_vm: (kvm_mmu_init_vm+0x4/0xf0) "
                  "kvm=0x%llx vm_type=5\n",
                  static_cast<unsigned long long>(6 + i / 1000000),
                  static_cast<unsigned long long>(i % 1000000),
                  static_cast<unsigned long long>(0xffffc90000000000ull + i * 65536));
    text += line;
  }
  survived_by_all(put("many.txt", text), "a million VMs");
}

}  // namespace
}  // namespace mmucheck
