// model/spte, tests only: the entry formats that the tests run over: NPT, EPT and EPT without A/D
// bits, each in both recorded designs.
#pragma once

#include <string>
#include <vector>

#include "model/spte/format.h"

namespace mmucheck::model {

struct TestFormat {
  std::string name;
  const Design* design;
  HostMmu host;
  SpteFormat fmt;
};

inline TestFormat test_format(const char* design, PageTableFormat format, bool ad_bits,
                              uint64_t memtype = 0x70) {
  TestFormat t;
  t.design = find_design(design);
  t.host.format = format;
  t.host.ad_bits = ad_bits;
  if (format == PageTableFormat::kEpt) t.host.ept_memtype_bits = memtype;
  t.name = std::string(design) + (format == PageTableFormat::kNpt ? " npt"
                                  : ad_bits                       ? " ept"
                                                                  : " eptnoad");
  t.fmt = make_spte_format(*t.design, t.host);
  return t;
}

inline std::vector<TestFormat> test_formats() {
  std::vector<TestFormat> all;
  for (const char* design : {"linux-6.12", "linux-7.2"}) {
    all.push_back(test_format(design, PageTableFormat::kNpt, true));
    all.push_back(test_format(design, PageTableFormat::kEpt, true));
    all.push_back(test_format(design, PageTableFormat::kEpt, false));
  }
  all[0].host.l1tf = true;  // one with the L1TF mask in use
  all[0].host.maxphyaddr = 46;
  all[0].fmt = make_spte_format(*all[0].design, all[0].host);
  return all;
}

}  // namespace mmucheck::model
