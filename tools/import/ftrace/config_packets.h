// tools/import/ftrace: the configuration that a recording's text and side files give away.
//
// Contract: pure functions of the two. A module parameter's value in meta.txt is the one at the
// end; where PARAM markers change it during the recording, the value at the start is taken from the
// kernel command line, else from the first marker, which toggles it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checker/trace/event_source.h"
#include "tools/import/ftrace/ftrace_source.h"
#include "tools/import/ftrace/meta.h"
#include "tools/import/ftrace/profile.h"

namespace mmucheck::import {

// The first value that a marker gives a parameter.
using FirstSettings = std::map<trace::ModuleParam, uint64_t>;

// Options and side files win over what the text shows.
void apply_overrides(const FtraceOptions& options, const SideFiles& files, Profile& profile);

std::vector<trace::LostEvents> losses_before_and_after(const Profile& profile,
                                                       const SideFiles& files);

std::vector<trace::Event> config_packets(const FtraceOptions& options, const SideFiles& files,
                                         const Profile& profile, const FirstSettings& first,
                                         const std::string& kernel_text);

trace::LossState loss_state(const Profile& profile, const SideFiles& files);
std::string kernel_text(const Profile& profile, const SideFiles& files);

}  // namespace mmucheck::import
