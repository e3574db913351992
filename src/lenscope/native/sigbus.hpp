// What happens when a mapped file is truncated while it is read.
#pragma once

namespace lenscope {

// From now on, reading behind the new end of a truncated file (mapped shared and read-only) ends the process with a
// one-line message and exit code 1 instead of a silent SIGBUS. Reads cannot be satisfied: training would use the zeros.
// Leaves existing SIGBUS handlers, such as Python's faulthandler, in place; does nothing without /proc/self/maps.
void report_cut_files();

}  // namespace lenscope
