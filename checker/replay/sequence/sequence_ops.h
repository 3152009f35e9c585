// checker/replay: the operations of a scripted sequence by name: how each one's arguments become a
// machine of the model, under which lock it runs, and what its result is.
#pragma once

#include "checker/replay/sequence/sequence_env.h"
#include "model/tdp/world.h"

namespace mmucheck::replay {

using SequenceWorld = model::World<model::RadixStore, SequenceEnv>;

// Runs the operation of `record` to its end and returns what the record calls "ret"; nullopt for
// an operation that this version does not know.
std::optional<json> run_sequence_op(SequenceWorld& w, const json& record);

}  // namespace mmucheck::replay
