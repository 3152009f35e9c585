#include "checker/replay/module/module_tables.h"

namespace mmucheck::replay {

std::optional<RowDifference> check_contention_row(const TableRow&) {
  throw BadModuleTable("rows with a held lock are not read yet");
}

}  // namespace mmucheck::replay
