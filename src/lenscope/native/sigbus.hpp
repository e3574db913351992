// What happens where a mapped file becomes shorter while it is read.
#pragma once

namespace lenscope {

// From here on a read behind the new end of a file that is mapped to be shared and read only ends the process with one
// line and exit code 1, and not with SIGBUS and without a word. Nothing can be read in its place: zeros would be trained
// on. Leaves alone what already handles SIGBUS, such as Python's faulthandler, and does nothing where there is no
// /proc/self/maps.
void report_cut_files();

}  // namespace lenscope
