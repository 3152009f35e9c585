// Input that is no trace, half a trace or a hostile one, through the program as a user runs it:
// exit 3 with one clear line, or a verdict; never a crash, never much memory, never half an output.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
    const bool documented =
        r.code == 0 || r.code == 1 || r.code == 3 || r.code == 4 || r.code == 5 || r.code == 7;
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
  text +=
      " kvmload-61 [000] .....  6.000001: init_vm: (kvm_mmu_init_vm+0x4/0xf0) "
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

// A TD with one private page, packets 1 to 8.
constexpr const char* kTd =
    "packet { kernel { version: KERNEL_VERSION_7_2 } }\n"
    "packet { mmu_format { format: SPTE_FORMAT_EPT } }\n"
    "packet { vm_create { vm_type: 5 } }\n"
    "packet { memslot_create { slot: 0 base_gfn: 0 npages: 0x1000 flags: 4 gmem_fd: 3 } }\n"
    "packet { vcpu_create { } }\n"
    "packet { set_attributes { start: 0x10 end: 0x20 attributes: 0x8 } }\n"
    "packet { root_load { } }\n"
    "packet { mock_finalize { } }\n";

struct BadPacket {
  const char* before;  // packets between the TD and this one
  const char* packet;
  const char* why;
};

TEST_F(BadInput, WhatNoTdCanHaveIsRefusedAtItsPacket) {
  const std::vector<BadPacket> bad{
      {"", "seamcall { leaf: SEAMCALL_LEAF_MEM_PAGE_AUG gpa: 0x10000 level: 9 }", "level is 9"},
      {"", "seamcall { leaf: SEAMCALL_LEAF_MEM_PAGE_AUG gpa: 0x10000 level: 0 }", "level is 0"},
      {"", "seamcall { leaf: SEAMCALL_LEAF_MEM_PAGE_AUG gpa: 0x10000 level: 0x100000001 }",
       "level is 4294967297"},
      {"", "seamcall { leaf: SEAMCALL_LEAF_MEM_RANGE_BLOCK gpa: 0x10001 level: 1 }",
       "gpa 0x10001 is not aligned"},
      {"", "seamcall { leaf: SEAMCALL_LEAF_MEM_RANGE_BLOCK gpa: 0x10000000010000 level: 1 }",
       "gpa is 0x10000000010000"},
      {"", "seamcall { leaf: 99 gpa: 0x10000 level: 1 }", "leaf"},
      {"", "seamcall { gpa: 0x10000 level: 1 }", "there is no leaf 0"},
      {"packet { vm_destroy { } }\n",
       "seamcall { leaf: SEAMCALL_LEAF_MEM_PAGE_REMOVE gpa: 0x10000 level: 1 }",
       "the TD was destroyed"},
      {"packet { vm_destroy { } }\n", "vcpu_enter { }", "the TD was destroyed"},
      {"packet { vm_destroy { } }\n", "guest_access { gpa: 0x10000 is_private: true }",
       "the TD was destroyed"},
      {"", "vcpu_create { vcpu_id: 4294967296 }", "vcpu_id is 4294967296"},
      {"", "vcpu_create { vcpu_id: 16384 }", "vcpu_id is 16384"},
      {"", "vcpu_enter { vcpu_id: 18446744073709551615 }", "vcpu_id is 18446744073709551615"},
      {"", "vm_config { gpaw: 50 }", "gpaw is 50"},
      {"", "vm_config { gpaw: 52 direct_gfn_bits: 0x800000000 }", "direct_gfn_bits is 0x800000000"},
      {"", "guest_access { gpa: 0x1000000000000 is_private: true }", "has more than 48 bits"},
      {"", "guest_access { gpa: 0xffffffffffffffff }", "gpa is 0xffffffffffffffff"},
      {"", "map_private_pfn { gfn: 0x800000010 }", "gfn 0x800000010 is not private"},
      {"", "fault_pfn { pfn: 0x10000000000 }", "pfn is 0x10000000000"},
      {"", "hw_ad { gfn: 0x10 level: 6 }", "level is 6"},
  };
  for (const BadPacket& b : bad) {
    const std::string good = std::string(kTd) + b.before;
    const std::string file = put("td.txtpb", good + "packet { " + b.packet + " }\n");
    const auto packet = std::count(good.begin(), good.end(), '\n') + 1;
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"replay", file}, {"show", "--state", file}, {"predict", file}}) {
      const Result r = run(arguments);
      EXPECT_EQ(r.code, 3) << arguments[0] << " " << b.packet << "\n" << r.err;
      EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1) << r.err;
      const std::string place = file + ": packet " + std::to_string(packet) + ", line " +
                                std::to_string(packet) + ", byte " + std::to_string(good.size());
      EXPECT_TRUE(r.err.starts_with("mmucheck: " + place)) << b.packet << "\n" << r.err;
      EXPECT_NE(r.err.find(b.why), std::string::npos) << b.packet << "\n" << r.err;
    }
  }
}

TEST_F(BadInput, WhatNoTdxModuleHasIsRefusedInItsHeader) {
  std::string header;
  {
    trace::ByteStream stream("traces/module-sequences/seq-a-000.jsonl.xz");
    trace::Line line;
    ASSERT_TRUE(stream.next_line(line));
    header = std::string(line.text);
  }
  const std::vector<std::array<const char*, 3>> bad{
      {"\"td\":33", "\"td\":31", "HKID"},
      {"\"td\":33", "\"td\":64", "\"td\" is out of range"},
      {"\"private_min\":32", "\"private_min\":64", "\"private_min\" is out of range"},
      {"\"bits\":6", "\"bits\":7", "\"bits\" is out of range"},
      {"\"start_bit\":46", "\"start_bit\":64", "\"start_bit\" is out of range"},
      {"\"gpaw\":48", "\"gpaw\":50", "neither 48 nor 52"},
      {"\"gpaw\":48", "\"gpaw\":52", "five"},
      {"\"sept_levels\":4", "\"sept_levels\":6", "\"sept_levels\" is out of range"},
      {"\"vcpus\":[", "\"vcpus\":[7,", "a vCPU is no object"}};
  for (const auto& [from, to, why] : bad) {
    std::string text = header;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, std::string(from).size(), to);
    const Result r = run({"run-module", put("module.jsonl", text + "\n")});
    EXPECT_EQ(r.code, 3) << to << "\n" << r.err;
    EXPECT_TRUE(r.err.starts_with("mmucheck: " + path("module.jsonl") + ": line 1")) << r.err;
    EXPECT_NE(r.err.find(why), std::string::npos) << to << "\n" << r.err;
  }
}

}  // namespace
}  // namespace mmucheck
