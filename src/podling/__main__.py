from podling.cli.main import main

main()
