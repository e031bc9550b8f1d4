// vmdk-dm verify: whether a sealed image is still what its certificate says.
#include <memory>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/verification.h"
#include "kernel/signals.h"

namespace vmdkdm {
namespace {

struct VerifyCommandOptions {
    std::string certificate;
    VerifyOptions verify;
    std::string progress = "auto";
    bool json = false;
};

void run(const VerifyCommandOptions& options) {
    const Certificate certificate = read_certificate(options.certificate);
    const SignalDelay delay;
    const Verification verification = [&] {
        ProgressReport progress(options.progress);
        return verify(certificate, options.verify, progress);
    }();
    if (options.json)
        print_json(as_json(certificate, options.certificate, verification));
    else
        print_as_text(certificate, options.certificate, verification);
    if (verification.changed() > 0) throw ExitStatus{static_cast<int>(ErrorKind::changed)};
}

}  // namespace

void add_verify_command(Command& app) {
    Command command = app.add_command("verify", "Compare the files of a sealed image with its certificate");
    const auto options = std::make_shared<VerifyCommandOptions>();
    command.add_argument("CERT", options->certificate, "The certificate that attach --seal made").required();
    command.add_option("--image", options->verify.image, "IMAGE",
                       "Where the image is now; its other files are looked for from there");
    add_permission_options(command, options->verify.rules);
    command.add_flag("--deep", options->verify.deep, "Hash the disk too, not only the files");
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
