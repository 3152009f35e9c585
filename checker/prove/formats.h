// Layer: checker/prove, inside. Contract: the entry formats that obligations about SPTEs range
// over: NPT, EPT and EPT without A/D bits, each in every design whose SPTEs differ (6.12 and 7.2).
#pragma once

#include <string>
#include <vector>

#include "model/design/design.h"
#include "model/spte/format.h"

namespace mmucheck::prove {

struct NamedFormat {
  std::string name;
  model::SpteFormat f;
  bool ept = false;
  bool ad_bits = true;
};

inline const std::vector<NamedFormat>& formats() {
  static const std::vector<NamedFormat> all = [] {
    std::vector<NamedFormat> r;
    for (const char* design : {"linux-6.12", "linux-7.2"}) {
      for (const char* kind : {"NPT", "EPT", "EPT without A/D"}) {
        NamedFormat n;
        n.ept = kind[0] == 'E';
        n.ad_bits = std::string(kind) != "EPT without A/D";
        model::HostMmu host;
        host.format = n.ept ? model::PageTableFormat::kEpt : model::PageTableFormat::kNpt;
        host.ad_bits = n.ad_bits;
        if (n.ept) host.ept_memtype_bits = 0x70;
        n.name = std::string(design) + " " + kind;
        n.f = make_spte_format(*model::find_design(design), host);
        r.push_back(n);
      }
    }
    return r;
  }();
  return all;
}

}  // namespace mmucheck::prove
