"""The command line `runwire`: what people call a server with.

It is a package of its own beside the client because importing anything of that loads gRPC, and
asking for help, or pressing the tabulator, should not. For the same reason a command imports the
client, and whatever else is heavy, when it runs.

A command's answer goes to standard output and everything else to standard error. With `--json` the
answer is one JSON document, or a line of JSON for each part of a stream. Exit codes:

    0    done; a run has succeeded, or paused at an interrupt
    1    a run ended otherwise, or not all that was asked for could be done
    2    the call failed, or the command was used wrongly
    130  left with Ctrl-C
"""
