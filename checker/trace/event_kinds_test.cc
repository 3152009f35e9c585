// The table of kinds against the proto descriptors: names, numbers, types, classes of enums. One
// that is in only one of the two places fails here.
#include "checker/trace/event_kinds.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "checker/trace/wire.h"
#include "mmucheck/v1/packet.pb.h"

namespace mmucheck::trace {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;

const google::protobuf::OneofDescriptor& body() {
  return *v1::Packet::descriptor()->FindOneofByName("body");
}

FieldDescriptor::Type expected_type(FieldType type) {
  switch (type) {
    case FieldType::kSigned: return FieldDescriptor::TYPE_INT64;
    case FieldType::kBool: return FieldDescriptor::TYPE_BOOL;
    case FieldType::kEnum: return FieldDescriptor::TYPE_ENUM;
    default: return FieldDescriptor::TYPE_UINT64;
  }
}

TEST(EventKinds, EveryKindHasItsMessage) {
  for (const KindInfo& info : all_kinds()) {
    SCOPED_TRACE(std::string(info.name));
    const FieldDescriptor* field =
        v1::Packet::descriptor()->FindFieldByName(std::string(info.name));
    ASSERT_NE(field, nullptr);
    EXPECT_EQ(field->containing_oneof(), &body());
    EXPECT_EQ(field->number(),
              static_cast<int>(wire::kBodyFieldBase + static_cast<int>(info.kind)));
    const Descriptor* message = field->message_type();
    EXPECT_EQ(message->field_count(),
              static_cast<int>(info.fields.size()) + (info.text_field.empty() ? 0 : 1));
    for (size_t i = 0; i < info.fields.size(); ++i) {
      const FieldDescriptor* f = message->FindFieldByNumber(static_cast<int>(i) + 1);
      ASSERT_NE(f, nullptr) << info.fields[i].name;
      EXPECT_EQ(f->name(), info.fields[i].name);
      EXPECT_EQ(f->type(), expected_type(info.fields[i].type)) << f->name();
      EXPECT_TRUE(f->has_presence()) << f->name();
      EXPECT_EQ(info.field(f->name()), i);
    }
    if (!info.text_field.empty()) {
      const FieldDescriptor* f = message->FindFieldByNumber(wire::kTextField);
      ASSERT_NE(f, nullptr);
      EXPECT_EQ(f->name(), info.text_field);
      EXPECT_EQ(f->type(), FieldDescriptor::TYPE_BYTES);
    }
  }
}

TEST(EventKinds, EveryMessageHasItsKind) {
  EXPECT_EQ(body().field_count(), static_cast<int>(all_kinds().size()));
  for (int i = 0; i < body().field_count(); ++i) {
    EXPECT_NE(kind_by_name(body().field(i)->name()), EventKind::kNone) << body().field(i)->name();
  }
}

TEST(EventKinds, NamesAndIndicesAgree) {
  std::set<std::string_view> kernel_names;
  for (const KindInfo& info : all_kinds()) {
    EXPECT_EQ(kind_by_name(info.name), info.kind);
    EXPECT_EQ(kind_name(info.kind), info.name);
    if (info.kernel_name.empty()) continue;
    EXPECT_TRUE(kernel_names.insert(info.kernel_name).second) << info.kernel_name;
    EXPECT_EQ(kind_by_kernel_name(info.kernel_name), info.kind);
  }
  EXPECT_EQ(kind_by_name("no_such_kind"), EventKind::kNone);
  EXPECT_EQ(kind_by_kernel_name(""), EventKind::kNone);
  EXPECT_EQ(kind_info(EventKind::kChangedSpte).field("new_spte"), f::changed_spte::new_spte);
  EXPECT_EQ(kind_info(EventKind::kTdpMap).fields.size(), size_t{f::tdp_map::kCount});
}

template <class E>
void expect_enum(const EnumDescriptor* descriptor, std::initializer_list<E> values) {
  ASSERT_EQ(descriptor->value_count(), static_cast<int>(values.size())) << descriptor->name();
  std::set<int> numbers;
  for (const E value : values) numbers.insert(static_cast<int>(value));
  for (int i = 0; i < descriptor->value_count(); ++i) {
    EXPECT_TRUE(numbers.contains(descriptor->value(i)->number())) << descriptor->value(i)->name();
  }
}

TEST(EventKinds, EnumsAgree) {
  expect_enum(v1::KernelVersion_descriptor(),
              {KernelVersion::kUnknown, KernelVersion::k6_12, KernelVersion::k7_2});
  expect_enum(v1::SpteFormat_descriptor(),
              {SpteFormat::kUnknown, SpteFormat::kNpt, SpteFormat::kEpt});
  expect_enum(v1::ClockKind_descriptor(),
              {ClockKind::kUnknown, ClockKind::kNanoseconds, ClockKind::kCounter});
  expect_enum(v1::LossState_descriptor(),
              {LossState::kUnknown, LossState::kNone, LossState::kLost});
  EXPECT_EQ(v1::LOSS_HOW_HEADER, static_cast<int>(LossHow::kHeader));
  EXPECT_EQ(v1::LOSS_HOW_TRUNCATED, static_cast<int>(LossHow::kTruncated));
  EXPECT_EQ(v1::EXPECTED_VERDICT_INCONCLUSIVE, static_cast<int>(ExpectedVerdict::kInconclusive));
  EXPECT_EQ(v1::CAPABILITY_NAME_SLOT_ZAP_QUIRK, static_cast<int>(CapabilityName::kSlotZapQuirk));
  EXPECT_EQ(v1::MODULE_PARAM_MOCK_BUSY_ZAP_EVERY,
            static_cast<int>(ModuleParam::kMockBusyZapEvery));
  EXPECT_EQ(v1::MMIO_TYPE_WRITE, static_cast<int>(MmioType::kWrite));
  EXPECT_EQ(v1::HOOK_KIND_ZAP, static_cast<int>(HookKind::kZap));
  EXPECT_EQ(v1::SEAMCALL_LEAF_PHYMEM_PAMT_REMOVE,
            static_cast<int>(SeamcallLeaf::kPhymemPamtRemove));
  EXPECT_EQ(v1::PACKET_CLASS_OBSERVATION, static_cast<int>(PacketClass::kObservation) + 1);
}

}  // namespace
}  // namespace mmucheck::trace
