#include "model/tdx/status.h"

#include <array>

namespace mmucheck::model::tdx {
namespace {

enum class DetailKind : uint8_t { kNone, kOperand, kLevel };

struct StatusInfo {
  StatusCode code;
  DetailKind detail;
  const char* name;
};

using C = StatusCode;
using K = DetailKind;
constexpr std::array kStatusInfo = {
    StatusInfo{C::kSuccess, K::kNone, "TDX_SUCCESS"},
    StatusInfo{C::kInterruptedRestartable, K::kNone, "TDX_INTERRUPTED_RESTARTABLE"},
    StatusInfo{C::kOperandInvalid, K::kOperand, "TDX_OPERAND_INVALID"},
    StatusInfo{C::kOperandAddrRangeError, K::kOperand, "TDX_OPERAND_ADDR_RANGE_ERROR"},
    StatusInfo{C::kOperandBusy, K::kOperand, "TDX_OPERAND_BUSY"},
    StatusInfo{C::kPreviousTlbEpochBusy, K::kNone, "TDX_PREVIOUS_TLB_EPOCH_BUSY"},
    StatusInfo{C::kOperandBusyHostPriority, K::kOperand, "TDX_OPERAND_BUSY_HOST_PRIORITY"},
    StatusInfo{C::kPageMetadataIncorrect, K::kOperand, "TDX_PAGE_METADATA_INCORRECT"},
    StatusInfo{C::kHpaRangeNotFree, K::kOperand, "TDX_HPA_RANGE_NOT_FREE"},
    StatusInfo{C::kMissingPamtPagePair, K::kOperand, "TDX_MISSING_PAMT_PAGE_PAIR"},
    StatusInfo{C::kNoPamtPagePair, K::kOperand, "TDX_NO_PAMT_PAGE_PAIR"},
    StatusInfo{C::kPamtPageNotEmpty, K::kNone, "TDX_PAMT_PAGE_NOT_EMPTY"},
    StatusInfo{C::kTdAssociatedPagesExist, K::kNone, "TDX_TD_ASSOCIATED_PAGES_EXIST"},
    StatusInfo{C::kTdFatal, K::kNone, "TDX_TD_FATAL"},
    StatusInfo{C::kTdNonDebug, K::kNone, "TDX_TD_NON_DEBUG"},
    StatusInfo{C::kLifecycleStateIncorrect, K::kNone, "TDX_LIFECYCLE_STATE_INCORRECT"},
    StatusInfo{C::kOpStateIncorrect, K::kNone, "TDX_OP_STATE_INCORRECT"},
    StatusInfo{C::kNoVcpus, K::kNone, "TDX_NO_VCPUS"},
    StatusInfo{C::kVcpuAssociated, K::kNone, "TDX_VCPU_ASSOCIATED"},
    StatusInfo{C::kVcpuNotAssociated, K::kNone, "TDX_VCPU_NOT_ASSOCIATED"},
    StatusInfo{C::kTdKeysNotConfigured, K::kNone, "TDX_TD_KEYS_NOT_CONFIGURED"},
    StatusInfo{C::kWbcacheNotComplete, K::kNone, "TDX_WBCACHE_NOT_COMPLETE"},
    StatusInfo{C::kFlushvpNotDone, K::kNone, "TDX_FLUSHVP_NOT_DONE"},
    StatusInfo{C::kEptWalkFailed, K::kOperand, "TDX_EPT_WALK_FAILED"},
    StatusInfo{C::kEptEntryNotPresent, K::kOperand, "TDX_EPT_ENTRY_NOT_PRESENT"},
    StatusInfo{C::kGpaRangeNotBlocked, K::kOperand, "TDX_GPA_RANGE_NOT_BLOCKED"},
    StatusInfo{C::kGpaRangeAlreadyBlocked, K::kOperand, "TDX_GPA_RANGE_ALREADY_BLOCKED"},
    StatusInfo{C::kTlbTrackingNotDone, K::kOperand, "TDX_TLB_TRACKING_NOT_DONE"},
    StatusInfo{C::kEptInvalidPromoteConditions, K::kOperand, "TDX_EPT_INVALID_PROMOTE_CONDITIONS"},
    StatusInfo{C::kPageAlreadyAccepted, K::kLevel, "TDX_PAGE_ALREADY_ACCEPTED"},
    StatusInfo{C::kPageSizeMismatch, K::kLevel, "TDX_PAGE_SIZE_MISMATCH"},
    StatusInfo{C::kEptEntryStateIncorrect, K::kOperand, "TDX_EPT_ENTRY_STATE_INCORRECT"},
    StatusInfo{C::kEptPageNotFree, K::kOperand, "TDX_EPT_PAGE_NOT_FREE"},
    StatusInfo{C::kTdExitEptViolation, K::kNone, "TD_EXIT_EPT_VIOLATION"},
    StatusInfo{C::kTdcallInterrupted, K::kNone, "TDCALL_INTERRUPTED"},
    StatusInfo{C::kVe, K::kNone, "VE"},
    StatusInfo{C::kAccessOk, K::kNone, "ACCESS_OK"},
    StatusInfo{C::kModuleFatal, K::kNone, "MODULE_FATAL"},
};

std::string operand_name(uint32_t id) {
  switch (static_cast<Operand>(id)) {
    case Operand::kRax: return "RAX";
    case Operand::kRcx: return "RCX";
    case Operand::kRdx: return "RDX";
    case Operand::kR8: return "R8";
    case Operand::kR9: return "R9";
    case Operand::kR10: return "R10";
    case Operand::kR11: return "R11";
    case Operand::kTdr: return "TDR";
    case Operand::kSeptTree: return "SEPT_TREE";
    case Operand::kTdEpoch: return "TD_EPOCH";
    case Operand::kOpState: return "OP_STATE";
    case Operand::kKot: return "KOT";
    case Operand::kWbcache: return "WBCACHE";
  }
  return std::to_string(id);
}

const StatusInfo* find_status(StatusCode code) {
  for (const StatusInfo& s : kStatusInfo) {
    if (s.code == code) return &s;
  }
  return nullptr;
}

}  // namespace

const char* status_name(StatusCode code) {
  const StatusInfo* info = find_status(code);
  return info == nullptr ? "UNKNOWN" : info->name;
}

std::string status_text(Status s) {
  const StatusInfo* info = find_status(s.code());
  if (info == nullptr) return "UNKNOWN";
  if (info->detail == DetailKind::kLevel) {
    return std::string(info->name) + ":L" + std::to_string(s.detail());
  }
  // MR.EXTEND answers EPT_ENTRY_NOT_PRESENT without an operand where the page is in a wrong state.
  const bool bare = info->detail == DetailKind::kNone ||
                    (s.code() == StatusCode::kEptEntryNotPresent && s.detail() == 0);
  return bare ? info->name : std::string(info->name) + ":" + operand_name(s.detail());
}

}  // namespace mmucheck::model::tdx
