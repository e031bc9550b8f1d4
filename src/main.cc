#include "cli/cli.h"

int main(int argc, char** argv) { return vmdkdm::run_command_line(argc, argv); }
