#include "checker/trace/byte_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {
namespace {

std::string sample() {
  std::string out;
  for (int i = 0; i < 60000; ++i) out += "line " + std::to_string(i * 7919) + "\n";
  return out;
}

std::string gzip(const std::string& in) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, in.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string xz(const std::string& in) {
  std::string out(lzma_stream_buffer_bound(in.size()), '\0');
  size_t used = 0;
  lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const uint8_t*>(in.data()),
                          in.size(), reinterpret_cast<uint8_t*>(out.data()), &used, out.size());
  out.resize(used);
  return out;
}

std::string zst(const std::string& in) {
  std::string out(ZSTD_compressBound(in.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 1));
  return out;
}

std::string read_all(ByteStream& stream) {
  std::string out;
  for (std::string_view w = stream.peek(1); !w.empty(); w = stream.peek(1)) {
    out += w;
    stream.consume(w.size());
  }
  return out;
}

TraceErrorKind error_of(const std::string& bytes) {
  try {
    read_all(*ByteStream::from_memory(bytes));
  } catch (const TraceError& e) {
    return e.kind();
  }
  return TraceErrorKind::kInterrupted;  // stands for "no error"
}

TEST(ByteStream, ReadsEachCompressionByContent) {
  const std::string text = sample();
  const std::vector<std::pair<std::string, std::string>> forms = {
      {"", text}, {"gz", gzip(text)}, {"xz", xz(text)}, {"zst", zst(text)}};
  for (const auto& [name, bytes] : forms) {
    const auto stream = ByteStream::from_memory(bytes);
    EXPECT_EQ(stream->compression(), name);
    EXPECT_EQ(read_all(*stream), text) << name;
    EXPECT_EQ(stream->offset(), text.size());
    stream->rewind();
    EXPECT_EQ(read_all(*stream), text) << name << " a second time";
    EXPECT_EQ(read_all(*ByteStream::from_memory(bytes + bytes)), text + text) << "two members";
  }
}

TEST(ByteStream, EveryTruncationOfACompressedStreamIsNoticed) {
  const std::string text(3000, 'x');
  for (const std::string& whole : {gzip(text), xz(text), zst(text)}) {
    for (size_t n = 6; n < whole.size(); ++n) {
      EXPECT_EQ(error_of(whole.substr(0, n)), TraceErrorKind::kTruncated) << n;
    }
  }
}

TEST(ByteStream, DamageIsNoticedWithItsPlace) {
  for (std::string bytes : {gzip(sample()), xz(sample()), zst(sample()), gzip("a") + "garbage"}) {
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
    try {
      const std::string got = read_all(*ByteStream::from_memory(bytes, "some.file"));
      // zstd and raw deflate blocks may carry a flipped literal; only checks at the end notice.
      EXPECT_NE(got, sample());
    } catch (const TraceError& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with("some.file: the ")) << e.what();
      EXPECT_NE(std::string(e.what()).find("compressed byte"), std::string::npos);
    }
  }
}

TEST(ByteStream, LinesOfAllLengthsAndEnds) {
  const std::string longest(ByteStream::kMaxLine, 'a');
  const std::string mega(1 << 20, 'b');
  const auto stream = ByteStream::from_memory("one\r\n\n" + longest + "\n" + mega + "\ntail");
  Line line;
  ASSERT_TRUE(stream->next_line(line));
  EXPECT_EQ(line.text, "one");
  ASSERT_TRUE(stream->next_line(line));
  EXPECT_EQ(line.text, "");
  EXPECT_EQ(line.offset, 5u);
  ASSERT_TRUE(stream->next_line(line));
  EXPECT_FALSE(line.overlong);
  EXPECT_EQ(line.text, longest);
  ASSERT_TRUE(stream->next_line(line));
  EXPECT_TRUE(line.overlong);
  EXPECT_EQ(line.text, mega.substr(0, ByteStream::kMaxLine));
  ASSERT_TRUE(stream->next_line(line));
  EXPECT_EQ(line.text, "tail");
  EXPECT_EQ(line.number, 5u);
  EXPECT_EQ(line.offset, 6 + longest.size() + 1 + mega.size() + 1);
  EXPECT_FALSE(stream->next_line(line));
}

TEST(ByteStream, AHoleInTextIsAnErrorWithItsPlace) {
  const size_t limit = ByteStream::kMaxLine;
  const auto stream = ByteStream::from_memory("one\n" + std::string(limit, 'x') +
                                              std::string(3 * limit, '\0') + "\ntwo\n");
  Line line;
  ASSERT_TRUE(stream->next_line(line));
  try {
    stream->next_line(line);
    FAIL();
  } catch (const TraceError& e) {
    EXPECT_EQ(e.kind(), TraceErrorKind::kCorrupt);
    EXPECT_EQ(e.where().line, 2u);
    EXPECT_EQ(e.where().offset, static_cast<int64_t>(4 + limit));
  }
  const auto in_a_line = ByteStream::from_memory(std::string("a\0b\n", 4));
  EXPECT_TRUE(in_a_line->next_line(line)) << "of a line that fits, the parser can say what it is";
}

TEST(ByteStream, RefusesWhatIsNoFile) {
  for (const char* path : {"/", "/dev/zero", "/nonexistent/file"}) {
    try {
      ByteStream stream(path);
      FAIL() << path;
    } catch (const TraceError& e) {
      EXPECT_EQ(e.kind(), TraceErrorKind::kUnreadable);
      EXPECT_TRUE(std::string(e.what()).starts_with(path)) << e.what();
    }
  }
}

TEST(ByteStream, APipeBecomesRewindable) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const std::string text = sample();
  const std::string packed = zst(text);
  std::thread writer([&] {
    size_t done = 0;
    while (done < packed.size()) {
      const ssize_t n = ::write(ends[1], packed.data() + done, packed.size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    ::close(ends[1]);
  });
  ByteStream stream("/dev/fd/" + std::to_string(ends[0]));
  EXPECT_FALSE(stream.can_rewind());
  stream.peek(100);
  stream.make_rewindable();
  writer.join();
  EXPECT_EQ(stream.compression(), "zst");
  EXPECT_EQ(read_all(stream), text);
  stream.rewind();
  EXPECT_EQ(read_all(stream), text);
  ::close(ends[0]);
}

}  // namespace
}  // namespace mmucheck::trace
