// chronolithd --completion, --man: the program describes itself to shells and to man.
#include "tools/chronolithd/flags.h"
#include "tools/cli/command_tree.h"

namespace chronolith::daemon {

void AddDescriptions(CLI::App* app, std::string* text) {
  app->add_option_function<std::string>(
         "--completion",
         [app, text](const std::string& shell) {
           const cli::CommandInfo root = cli::DescribeCommands(app);
           *text = shell == "bash"  ? cli::BashCompletion(root)
                   : shell == "zsh" ? cli::ZshCompletion(root)
                                    : cli::FishCompletion(root);
           throw CLI::Success();
         },
         "print a script that completes the options in bash, zsh or fish, and exit")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->option_text("SHELL");
  app->add_flag_callback(
      "--man",
      [app, text] {
        cli::CommandInfo root = cli::DescribeCommands(app);
        root.section = 8;
        root.see_also = {"chronolith(1)", "systemd.service(5)"};
        *text = cli::ManPage(root, root);
        throw CLI::Success();
      },
      "print the manual page and exit");
}

}  // namespace chronolith::daemon
