#include "checker/replay/sequence/sequence_json.h"

#include <charconv>
#include <string>

namespace mmucheck::replay {
namespace {

[[noreturn]] void bad(std::string_view what, std::string_view wanted) {
  throw BadSequence(std::string(what) + " is not " + std::string(wanted));
}

const json& member(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end()) throw BadSequence(std::string("there is no \"") + key + '"');
  return *it;
}

uint64_t hex_digits(std::string_view s, std::string_view what) {
  uint64_t v = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v, 16);
  if (s.empty() || s[0] == '-' || r.ec != std::errc() || r.ptr != s.data() + s.size()) {
    bad(what, "a hexadecimal number of 64 bits");
  }
  return v;
}

std::string_view string_of(const json& j, std::string_view what) {
  if (!j.is_string()) bad(what, "a string");
  return j.get_ref<const std::string&>();
}

// The parser builds the tree without recursion, but whoever walks it recurses.
void check_nesting(std::string_view text) {
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') i++;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxNesting) throw BadSequence("brackets are nested too deeply");
    } else if ((c == ']' || c == '}') && depth > 0) {
      depth--;
    }
  }
}

void need(const json& event, size_t fields) {
  if (event.size() < fields) {
    throw BadSequence("event " + event[0].dump() + " has " + std::to_string(event.size()) +
                      " fields instead of " + std::to_string(fields));
  }
}

constexpr uint64_t kMaxPage = uint64_t{1} << 32;
constexpr uint64_t kMaxIndex = 511;

// A store or a tracepoint of one entry; false when `e` is none.
bool check_change(const json& e, std::string_view kind) {
  if (kind == "w" || kind == "wc") {
    need(e, kind == "w" ? 6 : 9);
    unsigned_of(e[1], "page", kMaxPage);
    unsigned_of(e[2], "index", kMaxIndex);
    unhex(e[3]);
    unhex(e[4]);
    string_of(e[5], "how");
    if (kind == "w") return true;
    unsigned_of(e[6], "as_id");
    unhex(e[7]);
    unsigned_of(e[8], "level");
    return true;
  }
  if (kind != "c") return false;
  need(e, 6);
  unsigned_of(e[1], "as_id");
  unhex(e[2]);
  unsigned_of(e[3], "level");
  unhex(e[4]);
  unhex(e[5]);
  return true;
}

std::string_view event_kind(const json& e) {
  if (!e.is_array() || e.empty()) throw BadSequence("an event is no array with a name");
  return string_of(e[0], "the name of an event");
}

void check_event(const json& e, uint64_t ad_bits) {
  const std::string_view kind = event_kind(e);
  if (check_change(e, kind)) return;
  if (kind == "R") {
    need(e, 7);
    if (unsigned_of(e[1], "count") == 0) throw BadSequence("a run of 0 events");
    if (!check_change(e[2], event_kind(e[2]))) throw BadSequence("a run of something else");
    for (size_t i = 3; i < 7; i++) unhex_signed(e[i]);
  } else if (kind == "hw") {
    need(e, 5);
    unsigned_of(e[1], "page", kMaxPage);
    unsigned_of(e[2], "index", kMaxIndex);
    if ((unhex(e[3]) ^ unhex(e[4])) & ~ad_bits) {
      throw BadSequence("the CPU sets more than accessed and dirty bits");
    }
  } else if (kind == "rd") {
    need(e, 4);
    unsigned_of(e[3], "count");
  } else if (kind == "hook") {
    need(e, 5);
    if (string_of(e[1], "the hook") != "set") return;
    need(e, 8);
    if (!e[6].is_number_integer() || e[6].get<int64_t>() > 0 || e[6].get<int64_t>() < -4095) {
      bad("what a hook returned", "0 or an error");
    }
  } else if (kind == "poll") {
    need(e, 2);
    unsigned_of(e[1], "count");
  } else if (kind == "op") {
    need(e, 2);
    check_record(e[1], ad_bits);
  }
}

}  // namespace

uint64_t unsigned_of(const json& j, std::string_view what, uint64_t max) {
  if (!j.is_number_unsigned()) bad(what, "an unsigned number");
  const uint64_t v = j.get<uint64_t>();
  if (v > max) bad(what, "at most " + std::to_string(max));
  return v;
}

uint64_t unsigned_at(const json& object, const char* key, uint64_t max) {
  return unsigned_of(member(object, key), key, max);
}

uint64_t unhex(const json& j) { return hex_digits(string_of(j, "a value"), "a value"); }

uint64_t unhex_signed(const json& j) {
  const std::string_view s = string_of(j, "a step");
  if (!s.empty() && s[0] == '-') return ~hex_digits(s.substr(1), "a step") + 1;
  return hex_digits(s, "a step");
}

uint64_t unhex_at(const json& object, const char* key, uint64_t max) {
  const uint64_t v = hex_digits(string_of(member(object, key), key), key);
  if (v > max) bad(key, "within its range");
  return v;
}

json parse_sequence_line(std::string_view text) {
  check_nesting(text);
  json j = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (j.is_discarded()) throw BadSequence("the line is no JSON");
  if (!j.is_object()) throw BadSequence("the line is no JSON object");
  return j;
}

void check_record(const json& record, uint64_t ad_bits) {
  if (!record.is_object()) throw BadSequence("a record is no JSON object");
  string_of(member(record, "op"), "op");
  if (!member(record, "a").is_object()) bad("a", "an object");
  if (record.contains("i")) unsigned_of(record["i"], "i", uint64_t{1} << 53);
  const json& events = member(record, "ev");
  if (!events.is_array()) bad("ev", "an array");
  for (const json& e : events) check_event(e, ad_bits);
}

}  // namespace mmucheck::replay
