from tests.cli.inside import inside as inside  # a fixture of several files of this folder
