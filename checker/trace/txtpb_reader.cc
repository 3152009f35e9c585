#include "checker/trace/txtpb_reader.h"

#include <fmt/format.h>

#include <utility>

#include "checker/trace/envelope.h"
#include "checker/trace/text_form.h"

namespace mmucheck::trace {
namespace {

constexpr size_t kMaxEntry = 1u << 20;

// Follows brackets through strings and comments, a line at a time.
class BracketScanner {
 public:
  enum class Problem { kNone, kUnbalanced, kOpenString };

  Problem line(std::string_view text) {
    char quote = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (quote != 0) {
        if (c == '\\') {
          ++i;
        } else if (c == quote) {
          quote = 0;
        }
        continue;
      }
      if (c == '#') break;
      if (c == '"' || c == '\'') quote = c;
      if (c == '{' || c == '<') ++depth_;
      if ((c == '}' || c == '>') && --depth_ < 0) return Problem::kUnbalanced;
    }
    return quote != 0 ? Problem::kOpenString : Problem::kNone;
  }
  bool balanced() const { return depth_ == 0; }

 private:
  int depth_ = 0;
};

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Blank, or only a comment.
bool is_empty(std::string_view line) {
  for (const char c : line) {
    if (c == '#') return true;
    if (!is_space(c)) return false;
  }
  return true;
}

}  // namespace

bool TxtpbReader::sniff(std::string_view prefix) {
  constexpr std::string_view kWord = "packet";
  size_t i = 0;
  for (;;) {
    while (i < prefix.size() && is_space(prefix[i])) ++i;
    if (i == prefix.size() || prefix[i] != '#') break;
    while (i < prefix.size() && prefix[i] != '\n') ++i;
  }
  if (prefix.substr(i, kWord.size()) != kWord) return false;
  i += kWord.size();
  while (i < prefix.size() && is_space(prefix[i])) ++i;
  return i < prefix.size() && (prefix[i] == '{' || prefix[i] == ':' || prefix[i] == '<');
}

TxtpbReader::TxtpbReader(std::unique_ptr<ByteStream> stream, const OpenOptions&)
    : stream_(std::move(stream)) {
  info_.file = stream_->name();
  info_.encoding = "txtpb";
  info_.compression = stream_->compression();
  info_.format_major = static_cast<uint32_t>(kFormatMajor);
  info_.format_minor = static_cast<uint32_t>(kFormatMinor);
  // The header, if any, is the first packet: info() is complete from the start.
  if (!read_entries()) return;
  Event event;
  if (decoder_.decode(packets_.front(), event) == wire::Decoded::kHeader) {
    decode_header(decoder_.special(), {.file = info_.file, .line = first_line_}, info_);
    taken_ = 1;
  }
}

void TxtpbReader::fail(TraceErrorKind kind, const std::string& message, uint64_t line) {
  throw TraceError(kind, {.file = info_.file, .packet = packet_, .line = line}, message);
}

bool TxtpbReader::read_entries() {
  packets_.clear();
  taken_ = 0;
  text_.clear();
  BracketScanner scanner;
  Line line;
  while (stream_->next_line(line, kMaxEntry)) {
    if (text_.empty() && is_empty(line.text)) continue;
    if (text_.empty()) {
      first_line_ = line.number;
      first_offset_ = line.offset;
    }
    if (line.overlong || text_.size() + line.text.size() > kMaxEntry) {
      fail(TraceErrorKind::kTooLarge, "an entry is longer than 1 MiB", line.number);
    }
    text_.append(line.text).push_back('\n');
    switch (scanner.line(line.text)) {
      case BracketScanner::Problem::kNone: break;
      case BracketScanner::Problem::kUnbalanced:
        fail(TraceErrorKind::kCorrupt, "a closing bracket without an opening one", line.number);
      case BracketScanner::Problem::kOpenString:
        fail(TraceErrorKind::kCorrupt, "a string is not closed at the end of its line",
             line.number);
    }
    if (!scanner.balanced()) continue;
    TextError error;
    if (!parse_text(text_, packets_, error)) {
      fail(TraceErrorKind::kCorrupt, error.message,
           first_line_ + (error.line == 0 ? 0 : error.line - 1));
    }
    if (!packets_.empty()) return true;
    text_.clear();
  }
  if (!text_.empty()) {
    fail(TraceErrorKind::kTruncated,
         fmt::format("truncated: the entry that begins here is not closed; the {} packets before "
                     "it are intact (--salvage keeps them)",
                     info_.packets),
         first_line_);
  }
  return false;
}

bool TxtpbReader::next(Event& event) {
  for (;;) {
    if (taken_ == packets_.size()) {
      ++packet_;
      if (!read_entries()) return false;
      --packet_;
    }
    ++packet_;
    const wire::Decoded what = decoder_.decode(packets_[taken_], event);
    ++taken_;
    switch (what) {
      case wire::Decoded::kEvent: break;
      case wire::Decoded::kUnknownKind:  // text has names only for what it knows
      case wire::Decoded::kBad:
        fail(TraceErrorKind::kCorrupt, decoder_.error() != nullptr ? decoder_.error() : "malformed",
             first_line_);
      case wire::Decoded::kHeader:
        fail(TraceErrorKind::kCorrupt, "a header that is not the first packet", first_line_);
      case wire::Decoded::kFooter: --packet_; continue;
    }
    if (event.seq != 0 && event.seq != packet_) {
      fail(TraceErrorKind::kCorrupt, fmt::format("the packet is numbered {}", event.seq),
           first_line_);
    }
    event.seq = packet_;
    event.stream_line = first_line_;
    event.source_offset = first_offset_;
    account(event, info_);
    return true;
  }
}

}  // namespace mmucheck::trace
