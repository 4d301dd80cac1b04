# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_supervisor_haproxy_global_optspecs
    string join \n poll-interval= timeout= action= enforce no-gate no-sync sync-interval= report-all dry-run holds-file= metrics-file= breaker-threshold= breaker-reset= log-format= v/verbose q/quiet h/help V/version
end

function __fish_supervisor_haproxy_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_supervisor_haproxy_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_supervisor_haproxy_using_subcommand
    set -l cmd (__fish_supervisor_haproxy_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l poll-interval -d 'How often HAProxy is looked at, to report servers that go up or down and to notice its restart (0: never)' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l timeout -d 'How long one command of HAProxy may take' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l action -d 'Another server state for a program state, as in STOPPING=maint; may be repeated or separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l sync-interval -d 'How often supervisord is asked for all states, in case events were lost unnoticed (0: only when needed)' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l holds-file -d 'Where holds are kept across restarts; by default beside supervisord\'s unix socket, with `.holds` at the end' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l metrics-file -d 'Tell there what was done, for Prometheus: for node exporter\'s textfile collector, where it ends in `.prom`, or for `serve`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l breaker-threshold -d 'After how many failures in a row HAProxy is left alone for a while (circuit breaker)' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l breaker-reset -d 'How long HAProxy is left alone before it is tried again' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l log-format -d 'Form of the log on stderr' -r -f -a "text\t'Lines for people'
json\t'One JSON object a line'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l enforce -d 'Set back what somebody else has set in HAProxy, instead of only reporting it'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l no-gate -d 'Let HAProxy send requests to a started program at once, without waiting for its health checks to pass'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l no-sync -d 'Do not use supervisord\'s XML-RPC: work from events alone'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l report-all -d 'Report HAProxy\'s other servers, too, which stand for no program'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -l dry-run -d 'Send nothing that changes HAProxy; log what would be sent'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -s v -l verbose -d 'Log more; twice for all there is'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -s q -l quiet -d 'Log warnings and errors only; twice for errors only'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -s V -l version -d 'Print version'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "status" -d 'Show each program beside its servers, and where the two disagree'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "ready" -d 'Let servers take traffic'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "drain" -d 'Let servers finish; of new requests, they get those of persistent sessions only'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "maint" -d 'Take servers out of traffic'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "restart" -d 'Restart programs one after the other without losing a request'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "stop" -d 'Stop programs one after the other without losing a request'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "start" -d 'Start programs one after the other, each with traffic before the next'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "hold" -d 'Keep servers in maint, whatever their programs do, until they are released'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "release" -d 'Let held servers follow their programs again'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "check" -d 'Look for what keeps HAProxy from following supervisord, and tell what to do'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "push" -d 'Send HAProxy\'s statistics to Graphite or statsd once, as from cron'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "pull" -d 'Fetch HAProxy\'s statistics into a directory again and again, in the place of haproxystats-pull'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "process" -d 'Add up what pull has fetched and send it on, in the place of haproxystats-process'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "report" -d 'Report on the health of HAProxy: servers, queues, response times, errors'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "config" -d 'Change HAProxy\'s configuration: checked, reloaded and seen to work, or put back'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "routes" -d 'Route host names to servers, most of the time without a reload'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "serve" -d 'Answer questions about HAProxy\'s health over HTTP, and restart it when it does not answer'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "history" -d 'Show what `serve` has seen change: servers, HAProxy itself, attempts to bring it back'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_needs_command" -a "completions" -d 'Print the completions for a shell'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -l json -d 'Print JSON'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -s w -l watch -d 'Show it again each second, until Ctrl-C'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand status" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l timeout -d 'How long to wait' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -s w -l wait -d 'Wait until HAProxy shows it: for `ready` until it takes traffic, otherwise until no session is left'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l shutdown-sessions -d 'Have HAProxy close the sessions that are left when the time has run out'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -l force -d 'Also where a program does not run, where a server is held, or against a listener that enforces'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand ready" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l timeout -d 'How long to wait' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -s w -l wait -d 'Wait until HAProxy shows it: for `ready` until it takes traffic, otherwise until no session is left'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l shutdown-sessions -d 'Have HAProxy close the sessions that are left when the time has run out'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -l force -d 'Also where a program does not run, where a server is held, or against a listener that enforces'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand drain" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l timeout -d 'How long to wait' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -s w -l wait -d 'Wait until HAProxy shows it: for `ready` until it takes traffic, otherwise until no session is left'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l shutdown-sessions -d 'Have HAProxy close the sessions that are left when the time has run out'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -l force -d 'Also where a program does not run, where a server is held, or against a listener that enforces'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand maint" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l drain-timeout -d 'How long sessions may take to end; then the program is stopped all the same' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l stop-timeout -d 'How long a program may take to stop' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l min-ready -d 'How many servers of each backend stay up, at least' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l up-timeout -d 'How long a program may take from its start until HAProxy shows it up' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l probe -d 'Ask the program itself before it gets traffic, as in http://{address}/health; {address} is where HAProxy sends its requests, {backend}, {server}, {group} and {program} are names' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l batch -d 'How many programs at a time: a number, or a share of them as in 25%' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l on-failure -d 'What to do about the rest when a program has failed' -r -f -a "stop\t'Begin no further ones'
continue\t'Go on with the next'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l shutdown-sessions -d 'Have HAProxy close the sessions that are left then'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l dry-run -d 'Print what would be done, and do nothing'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -l force -d 'Go on although too few servers stay up, or an HAProxy does not answer'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand restart" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l drain-timeout -d 'How long sessions may take to end; then the program is stopped all the same' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l stop-timeout -d 'How long a program may take to stop' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l min-ready -d 'How many servers of each backend stay up, at least' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l batch -d 'How many programs at a time: a number, or a share of them as in 25%' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l on-failure -d 'What to do about the rest when a program has failed' -r -f -a "stop\t'Begin no further ones'
continue\t'Go on with the next'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l shutdown-sessions -d 'Have HAProxy close the sessions that are left then'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l dry-run -d 'Print what would be done, and do nothing'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -l force -d 'Go on although too few servers stay up, or an HAProxy does not answer'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l up-timeout -d 'How long a program may take from its start until HAProxy shows it up' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l probe -d 'Ask the program itself before it gets traffic, as in http://{address}/health; {address} is where HAProxy sends its requests, {backend}, {server}, {group} and {program} are names' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l batch -d 'How many programs at a time: a number, or a share of them as in 25%' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l on-failure -d 'What to do about the rest when a program has failed' -r -f -a "stop\t'Begin no further ones'
continue\t'Go on with the next'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l dry-run -d 'Print what would be done, and do nothing'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -l force -d 'Go on although too few servers stay up, or an HAProxy does not answer'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -s r -l reason -d 'Why, for whoever finds the server in maint' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand hold" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand release" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand release" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand release" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand release" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand release" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand release" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l spool -d 'Look at this spool of the statistics, and at nothing else: what waits in it and for how long, and what was set aside' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l serve -d 'Ask the `serve` at http://HOST:PORT whether it answers, and look at nothing else' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l warning -d 'With --spool: a warning where more snapshots wait' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l critical -d 'With --spool: it is critical where more snapshots wait' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l warning-age -d 'With --spool: a warning where the oldest waits for longer, or none has come or gone for longer' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l critical-age -d 'With --spool: it is critical where that lasts for longer than this' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l allow-quarantine -d 'With --spool: a warning where more snapshots lie in quarantine' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l json -d 'Print JSON'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -l nagios -d 'Print one line as Nagios plugins do, with performance data'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand check" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -l backend -d 'Where to send, and what all names begin with: HOST:PORT::SCOPE, an IPv6 address in brackets' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -l type -d 'What listens there: G for Graphite, S for statsd' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -l sockets -d 'HAProxy\'s admin sockets, one for each process: a path, unix:///PATH or tcp://HOST:PORT' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -l protocol -d 'How Graphite is sent to: udp (the default) or tcp, which sends `rate`, too; statsd takes udp' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -l timeout -d 'How long a socket may take to answer, and the backend to take what is sent' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -l verbose -d 'Print what is sent'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand push" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -l to -d 'Where snapshots go from the spool: nowhere by themselves, or to Kafka for `process --from kafka` on another machine' -r -f -a "spool\t'By the spool of one machine'
kafka\t'By the topic `raw-topic` of `[kafka]`, too'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -s f -l file -d 'The configuration; by default /etc/haproxystats.conf, where it exists' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -l log-format -d 'How log lines are written to stderr; how much, is in the configuration' -r -f -a "text\t'Lines for people'
json\t'One JSON object a line'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -s p -l print -d 'Print all options with their defaults, and do nothing else'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -s P -l print-conf -d 'Print the configuration that is in effect, and do nothing else'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -l once -d 'Do it once and end, as from cron'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -s d -l dir -d 'A directory whose files *.conf are read after FILE, in the order of their names' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -l from -d 'Where snapshots come from: a `pull` on this machine, or `pull --to kafka` on others' -r -f -a "spool\t'By the spool of one machine'
kafka\t'By the topic `raw-topic` of `[kafka]`, too'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -s f -l file -d 'The configuration; by default /etc/haproxystats.conf, where it exists' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -l log-format -d 'How log lines are written to stderr; how much, is in the configuration' -r -f -a "text\t'Lines for people'
json\t'One JSON object a line'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -s p -l print -d 'Print all options with their defaults, and do nothing else'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -s P -l print-conf -d 'Print the configuration that is in effect, and do nothing else'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -l once -d 'Do it once and end, as from cron'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand process" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l csv -d 'Read a saved `show stat`, and ask nobody' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l user -d 'Who asks at URL, unless that tells; the password is in --password-file, or in the variable SUPERVISOR_HAPROXY_REPORT_PASSWORD' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l password-file -d 'A file whose first line is the password' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l tolerate -d 'Which share of a proxy\'s requests may end in errors of one kind' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l timeout -d 'How long HAProxy may take to answer' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -s c -l configuration -d 'supervisord\'s configuration; otherwise where supervisorctl looks for it' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l socket -d 'HAProxy\'s admin socket, as the listener\'s SOCKET; several, separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; may be repeated' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l supervisor-url -d 'supervisord\'s server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -l json -d 'Print JSON'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand report" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and not __fish_seen_subcommand_from apply validate history rollback recover" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and not __fish_seen_subcommand_from apply validate history rollback recover" -f -a "apply" -d 'Put files into HAProxy\'s configuration: checked, reloaded and seen to work, or not at all'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and not __fish_seen_subcommand_from apply validate history rollback recover" -f -a "validate" -d 'Have HAProxy check its configuration, or a file that is to go into it'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and not __fish_seen_subcommand_from apply validate history rollback recover" -f -a "history" -d 'Show the versions of the configuration'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and not __fish_seen_subcommand_from apply validate history rollback recover" -f -a "rollback" -d 'Put the whole configuration back as it was in a version'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and not __fish_seen_subcommand_from apply validate history rollback recover" -f -a "recover" -d 'Finish or undo a change that was cut off, and do nothing else'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l to -d 'Which of HAProxy\'s files it replaces, where there are several; for several FILE one for each, in their order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l haproxy -d 'The program, for `-c`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l socket -d 'The admin socket of HAProxy: where a new worker has to answer, and where maps are changed' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l master-socket -d 'Reload over the master\'s socket (`haproxy -S`); without this and the next three, it is /run/haproxy-master.sock, then the pid in /run/haproxy.pid' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l pid-file -d 'Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l master-pid -d 'Otherwise with SIGUSR2 to this process' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l reload-command -d 'Otherwise with a command of the shell, as in \'systemctl reload haproxy\'' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l lock-timeout -d 'How long another change is waited for' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -l keep -d 'How many versions are kept, of routes and of the rest' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from apply" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -l to -d 'Which of HAProxy\'s files it replaces, where there are several' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -l haproxy -d 'The program, for `-c`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -l timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from validate" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from history" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from history" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from history" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from history" -l json -d 'Print JSON'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l haproxy -d 'The program, for `-c`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l socket -d 'The admin socket of HAProxy: where a new worker has to answer, and where maps are changed' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l master-socket -d 'Reload over the master\'s socket (`haproxy -S`); without this and the next three, it is /run/haproxy-master.sock, then the pid in /run/haproxy.pid' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l pid-file -d 'Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l master-pid -d 'Otherwise with SIGUSR2 to this process' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l reload-command -d 'Otherwise with a command of the shell, as in \'systemctl reload haproxy\'' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l lock-timeout -d 'How long another change is waited for' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -l keep -d 'How many versions are kept, of routes and of the rest' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from rollback" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l haproxy -d 'The program, for `-c`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l socket -d 'The admin socket of HAProxy: where a new worker has to answer, and where maps are changed' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l master-socket -d 'Reload over the master\'s socket (`haproxy -S`); without this and the next three, it is /run/haproxy-master.sock, then the pid in /run/haproxy.pid' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l pid-file -d 'Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l master-pid -d 'Otherwise with SIGUSR2 to this process' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l reload-command -d 'Otherwise with a command of the shell, as in \'systemctl reload haproxy\'' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l lock-timeout -d 'How long another change is waited for' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l keep -d 'How many versions are kept, of routes and of the rest' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -l files-only -d 'Put the files right and leave HAProxy alone, as before its start'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand config; and __fish_seen_subcommand_from recover" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and not __fish_seen_subcommand_from init add remove list" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and not __fish_seen_subcommand_from init add remove list" -f -a "init" -d 'Make the files of the routes, so that HAProxy can be started with them'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and not __fish_seen_subcommand_from init add remove list" -f -a "add" -d 'Route the requests for a host to a server'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and not __fish_seen_subcommand_from init add remove list" -f -a "remove" -d 'Take the route of a host away'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and not __fish_seen_subcommand_from init add remove list" -f -a "list" -d 'Show all routes'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from init" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from init" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from init" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l check -d 'A page that HAProxy asks the server for; without it, the server is taken to be up' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l if-match -d 'Only if the table of routes has this version, as `routes list --json` tells it' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l haproxy -d 'The program, for `-c`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l socket -d 'The admin socket of HAProxy: where a new worker has to answer, and where maps are changed' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l master-socket -d 'Reload over the master\'s socket (`haproxy -S`); without this and the next three, it is /run/haproxy-master.sock, then the pid in /run/haproxy.pid' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l pid-file -d 'Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l master-pid -d 'Otherwise with SIGUSR2 to this process' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l reload-command -d 'Otherwise with a command of the shell, as in \'systemctl reload haproxy\'' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l lock-timeout -d 'How long another change is waited for' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l keep -d 'How many versions are kept, of routes and of the rest' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -l replace -d 'Also where the host is routed elsewhere'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l if-match -d 'Only if the table of routes has this version, as `routes list --json` tells it' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l haproxy -d 'The program, for `-c`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l socket -d 'The admin socket of HAProxy: where a new worker has to answer, and where maps are changed' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l master-socket -d 'Reload over the master\'s socket (`haproxy -S`); without this and the next three, it is /run/haproxy-master.sock, then the pid in /run/haproxy.pid' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l pid-file -d 'Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l master-pid -d 'Otherwise with SIGUSR2 to this process' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l reload-command -d 'Otherwise with a command of the shell, as in \'systemctl reload haproxy\'' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l lock-timeout -d 'How long another change is waited for' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -l keep -d 'How many versions are kept, of routes and of the rest' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from list" -s f -l file -d 'What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from list" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from list" -l history -d 'Where versions are kept; by default beside the first FILE, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from list" -l socket -d 'The admin socket of HAProxy, whose running map is compared with the file' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand routes; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l listen -d 'Where clients connect: IP:PORT, [IPV6]:PORT, localhost:PORT, or the path of a unix socket. Others than loopback need a token' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l socket-mode -d 'Who may write to a unix socket, as for chmod' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l socket -d 'HAProxy\'s admin socket: tcp://HOST:PORT, unix:///PATH or /PATH' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l config -d 'HAProxy\'s configuration, as it takes it with -f: a file or a directory; several in their order, or separated by commas' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l haproxy -d 'The program that is asked whether the configuration is valid, with -c' -r -f -a "(__fish_complete_command)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l token-file -d 'A file whose first line is the token that clients send as `Authorization: Bearer TOKEN`' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l admin-key-file -d 'A file whose first line is the key that clients send as `X-Admin-Key: KEY`, beside the token, to have HAProxy restarted or its routes changed' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l check-interval -d 'How often HAProxy is asked' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l timeout -d 'How long HAProxy may take to answer' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l breaker-threshold -d 'After how many failures in a row HAProxy is left alone for a while (circuit breaker)' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l breaker-reset -d 'How long HAProxy is left alone before it is tried again' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover -d 'Restart HAProxy with this line for /bin/sh when it does not answer' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-program -d 'Restart HAProxy as this program of supervisord: NAME or GROUP:NAME' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-unit -d 'Restart HAProxy as this unit of systemd' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-container -d 'Restart HAProxy as this container of Docker' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l supervisor-url -d 'supervisord\'s server, for --recover-program and for the programs of --map: unix:///PATH or http://HOST:PORT; supervisord tells its own programs. User and password are in SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-after -d 'After how many checks in a row that found HAProxy unhealthy it is restarted' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-backoff -d 'From an attempt that did not help to the next; doubled with each further one, up to a quarter of an hour' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-limit -d 'Restarts within an hour, whoever asks for them' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-timeout -d 'How long a restart may take, and then HAProxy to answer; what takes longer is killed' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l max-connections -d 'Clients at the same time; others are sent away with 503' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l client-timeout -d 'How long a client may take to send the head of a request, be silent between two, and take nothing of an answer' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l history -d 'Where to keep what changes, an SQLite file; `off` keeps it in memory only. By default history.sqlite in $STATE_DIRECTORY, else in /var/lib/supervisor-haproxy for root, else in the directory supervisor-haproxy of $XDG_STATE_HOME or ~/.local/state' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l history-limit -d 'How many entries the history keeps; the oldest go' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l log-format -d 'Form of the log on stderr' -r -f -a "text\t'Lines for people'
json\t'One JSON object a line'"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l supervisor-conf -d 'supervisord\'s configuration, which names supervisord\'s server and, in the listener\'s section, the programs' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l listener -d 'Which [eventlistener:NAME] is meant, where several run this program' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l map -d 'Which program stands for which server, as the listener\'s PROGRAM; several, or separated by commas' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l listener-metrics -d 'The listener\'s --metrics-file, which becomes part of /metrics; with --supervisor-conf, the listener\'s section tells' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l routes -d 'Where the files of the routes are, `backends.cfg` and `hosts.map`: /api/routes reads and changes them. HAProxy\'s --socket needs level admin for that, and --config all of its files' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l config-history -d 'Where versions of the configuration are kept, as --history of `config`; by default beside the first --config, with `.history` at the end' -r -f -a "(__fish_complete_directories)"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l master-socket -d 'Reload over the master\'s socket (`haproxy -S`); without this and the next two, it is /run/haproxy-master.sock, then the pid in /run/haproxy.pid' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l pid-file -d 'Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l reload-command -d 'Otherwise with a command of the shell, as in \'systemctl reload haproxy\'' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l change-timeout -d 'How long HAProxy may take to check its files, and from a reload until the new worker answers' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l lock-timeout -d 'How long other changes are waited for' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l keep -d 'How many versions are kept, of routes and of the rest' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l allow-host -d 'Who may get the reports that ticks ask for: HOST, *.DOMAIN, ADDRESS or ADDRESS/BITS, with :PORT or :* where it is not 80 or 443; several separated by commas. A host with an address that is not on the internet needs that address beside its name' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l telex-stats-allow -d 'Whose statistics page ticks may name, in the same form; without any, only `socket`: the HAProxy of --socket' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l report-to -d 'Send a report there when it is due: a URL behind telex+, slack+, discord+, text+ or json+; without any, json+. Several separated by commas. The URL of a webhook is a secret: set it with the variable' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l every -d 'When reports are due: a cron expression, in UTC' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l alert-to -d 'Tell there what changes: servers that go up or down, HAProxy that does not answer; as for --report-to' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l digest -d 'What changes within this time is one message' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l webhook-secret-file -d 'A file whose first line is the key that messages in the form json are signed with' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l recover-unvalidated -d 'Restart HAProxy although nobody knows whether its configuration is valid: without --config'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -s v -l verbose -d 'Log servers that change, too'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -l telex -d 'Answer Telex: /integration.json and /tick. Ticks need no token, so --allow-host has to name who gets the reports'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -l file -d 'The file that `serve` writes; by default the one that it writes by default' -r -F
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -l limit -d 'The last ones, so many at most' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -l since -d 'Only those since then: a time as in 2026-11-21T17:00:00Z or 2026-11-21 (UTC), or so long ago, as in 90s, 30m, 12h or 7d' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -l kind -d 'Only those of this kind' -r -f -a "server\t''
haproxy\t''
circuit\t''
recovery\t''
program\t''
action\t''
message\t''"
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -l subject -d 'Only those about this server, as in app/web1, program, or haproxy; * stands for any text' -r
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -s f -l follow -d 'Go on with what comes, until Ctrl-C'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -l json -d 'Print JSON: one object a line'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand history" -s h -l help -d 'Print help'
complete -c supervisor-haproxy -n "__fish_supervisor_haproxy_using_subcommand completions" -s h -l help -d 'Print help'
