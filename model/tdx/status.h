// model/tdx: what a call answers: the 64-bit completion status, code in bits 63:32, operand id (or
// level) in bits 31:0.
//
// Source: TDX module 1.5, tdx_error_codes. Codes from 0xee000000 up are no status of the module:
// they say that a guest's call or access ended in another way than by a status.
#pragma once

#include <cstdint>
#include <string>

namespace mmucheck::model::tdx {

enum class StatusCode : uint32_t {
  kSuccess = 0,
  kInterruptedRestartable = 0x80000004,
  kOperandInvalid = 0xc0000100,
  kOperandAddrRangeError = 0xc0000101,
  kOperandBusy = 0x80000200,
  kPreviousTlbEpochBusy = 0x80000201,
  kOperandBusyHostPriority = 0x80000204,
  kPageMetadataIncorrect = 0xc0000300,
  kHpaRangeNotFree = 0xc0000304,
  // Dynamic PAMT: the names are the module's, the numbers are not.
  kMissingPamtPagePair = 0xc00003f0,
  kNoPamtPagePair = 0xc00003f1,
  kPamtPageNotEmpty = 0xc00003f2,
  kTdAssociatedPagesExist = 0xc0000400,
  kTdFatal = 0xe0000604,
  kTdNonDebug = 0xc0000605,
  kLifecycleStateIncorrect = 0xc0000607,
  kOpStateIncorrect = 0xc0000608,
  kNoVcpus = 0xc0000609,
  kVcpuAssociated = 0x80000701,
  kVcpuNotAssociated = 0x80000702,
  kTdKeysNotConfigured = 0x80000810,
  kWbcacheNotComplete = 0x80000817,
  kFlushvpNotDone = 0x80000824,
  kEptWalkFailed = 0xc0000b00,
  kEptEntryNotPresent = 0xc0000b03,
  kGpaRangeNotBlocked = 0xc0000b06,
  kGpaRangeAlreadyBlocked = 0x00000b07,
  kTlbTrackingNotDone = 0xc0000b08,
  kEptInvalidPromoteConditions = 0xc0000b09,
  kPageAlreadyAccepted = 0x00000b0a,
  kPageSizeMismatch = 0xc0000b0b,
  kEptEntryStateIncorrect = 0xc0000b0d,
  kEptPageNotFree = 0xc0000b0e,
  kTdExitEptViolation = 0xee000000,  // the vCPU left the TD
  kTdcallInterrupted = 0xee000001,   // RIP has not moved: the guest runs the call again
  kVe = 0xee000002,                  // #VE went to the guest
  kAccessOk = 0xee000003,
  kModuleFatal = 0xee000004,         // a check of the module's own state failed
};

enum class Operand : uint32_t {
  kRax = 0, kRcx = 1, kRdx = 2, kR8 = 8, kR9 = 9, kR10 = 10, kR11 = 11,
  kTdr = 128, kSeptTree = 146, kTdEpoch = 169, kOpState = 172, kKot = 186, kWbcache = 188,
};

struct Status {
  uint64_t v = 0;
  constexpr Status() = default;
  constexpr explicit Status(StatusCode c) : v(static_cast<uint64_t>(c) << 32) {}
  constexpr Status(StatusCode c, Operand o)
      : v(static_cast<uint64_t>(c) << 32 | static_cast<uint64_t>(o)) {}
  constexpr Status(StatusCode c, int level)
      : v(static_cast<uint64_t>(c) << 32 | static_cast<uint64_t>(level)) {}
  constexpr StatusCode code() const { return static_cast<StatusCode>(v >> 32); }
  constexpr uint32_t detail() const { return static_cast<uint32_t>(v); }
  // GPA_RANGE_ALREADY_BLOCKED and PAGE_ALREADY_ACCEPTED are no errors, but end the call like one.
  constexpr bool ok() const { return v == 0; }
  friend constexpr bool operator==(Status, Status) = default;
};

inline constexpr Status kTdExit{StatusCode::kTdExitEptViolation, 1};

const char* status_name(StatusCode code);  // "TDX_SUCCESS"; "UNKNOWN" for a number that is none
std::string status_text(Status s);         // "TDX_OPERAND_BUSY:RCX", "TDX_PAGE_SIZE_MISMATCH:L1"

}  // namespace mmucheck::model::tdx
