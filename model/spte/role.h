// model/spte: the role word of a page-table page (union kvm_mmu_page_role) as far as the TDP MMU
// uses it. Bit positions come from the design row (6.12 and 7.x differ).
#pragma once

#include <cstdint>

#include "model/design/design.h"

namespace mmucheck::model {

inline constexpr uint32_t kRoleLevelMask = 0xf;
inline constexpr uint32_t kRoleAdDisabled = 1u << 16;
inline constexpr uint32_t kRoleGuestMode = 1u << 17;
inline constexpr uint32_t kRoleMirror = 1u << 19;

constexpr int role_level(uint32_t role) { return static_cast<int>(role & kRoleLevelMask); }
// Of a role word as a value of some domain, of a level that is known.
template <class U>
constexpr U role_word_with_level(U role, int level) {
  return (role & U(~kRoleLevelMask)) | U(static_cast<uint32_t>(level));
}
template <class U>
constexpr auto role_word_mirror(U role) {
  return (role & U(kRoleMirror)) != U(0u);
}

constexpr uint32_t role_with_level(uint32_t role, int level) {
  return role_word_with_level<uint32_t>(role, level);
}
constexpr uint32_t role_child(uint32_t role) { return role_with_level(role, role_level(role) - 1); }
constexpr bool role_ad_disabled(uint32_t role) { return role & kRoleAdDisabled; }
constexpr bool role_guest_mode(uint32_t role) { return role & kRoleGuestMode; }
constexpr bool role_mirror(uint32_t role) { return role_word_mirror(role); }
constexpr uint32_t role_as_id(uint32_t role) { return role >> 24; }
constexpr uint32_t role_invalid_mask(const Design& d) { return 1u << d.role_invalid_bit; }
constexpr bool role_invalid(const Design& d, uint32_t role) { return role & role_invalid_mask(d); }

}  // namespace mmucheck::model
