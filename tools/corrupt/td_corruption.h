// tools/corrupt: corruptions of what only a VM with a mirror root shows: hooks, SEAMCALLs, S-EPT
// entries, the choice between both roots.
//
// Contract: as corruption.h. A value that several lines repeat is changed in all of them up to the
// end of the call or hook; lines of VMs without a mirror root are no places. What nothing predicts
// (`src` of PAGE.ADD) is left alone.
#pragma once

#include "tools/corrupt/corruption.h"

namespace mmucheck::corrupt {

// The lines at which each class can do something.
std::map<Class, std::vector<size_t>> td_places(const RecordingText& recording);

//   kHookArgument      gfn, old, new or level of mock_set_external; external_spt of
//                      mock_free_external
//   kHookResult        another answer of mock_set_external_ret
//   kSeamcallArgument  gpa, level or hpa of a SEAMCALL or ACCEPT, and of the entry it changes
//   kSeamcallStatus    another status: success, BUSY with any operand, other errors
//   kBusy              a call that mapped a page or a table met BUSY first: hook and fault failed,
//                      and the fault was repeated
//   kSeptState         HPA or state, old or new, of mock_sept_state
//   kDropSeamcall      one line of a hook or SEAMCALL, or a whole SEAMCALL
//   kRootKind          mirror of alloc_root; is_mirror of the role word of others
//   kSharedBit         of a fault's address or of a direct root's gfn
//   kIsPrivate         is_private of tdp_map
//   kAttrFilter        attr_filter of an unmap
Corruption corrupt_td(const RecordingText& recording, Class cls, size_t line,
                      std::mt19937_64& random);

// `line` of the hook of a change, or of one of its SEAMCALLs, with the values of `after`.
void hook_with_values(std::string& line, std::string_view event, const Change& before,
                      const Change& after);

}  // namespace mmucheck::corrupt
