use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp 'tempdir';
use IO::Select;
use IO::Socket::UNIX;
use Test::More;
use Gatepost ();
use Gatepost::Wire qw(parse_line encode_line);

# A frontend that a test plays: it listens, and reads and writes lines.
my $run = tempdir(CLEANUP => 1);
mkdir "$run/pools";
mkdir "$run/pools/policy";
my %rest;

sub listener { return IO::Socket::UNIX->new(Local => "$run/pools/policy/$_[0].sock", Listen => 16) || die "listen: $!" }
sub accepted {
    my ($listener) = @_;
    IO::Select->new($listener)->can_read(10) or die "nobody dials\n";
    return scalar $listener->accept;
}

sub line {
    my ($socket) = @_;
    my $buffer = \$rest{$socket};
    $$buffer = '' if !defined $$buffer;
    while ((my $end = index $$buffer, "\n") < 0) {
        IO::Select->new($socket)->can_read(10) or die "no line within 10 s\n";
        sysread $socket, $$buffer, 65_536, length $$buffer or return undef;
    }
    return parse_line(substr $$buffer, 0, 1 + index($$buffer, "\n"), '');
}
sub say_line { my ($socket, $message) = @_; my $line = encode_line($message); return syswrite($socket, $line) == length $line }
sub welcome {
    my ($socket, $id) = @_;
    return say_line($socket, {type => 'welcome', protocol => 1, frontend => {id => $id}, max_frame => 1_048_576, concurrency => 1, spool => '/nowhere'});
}
sub event {
    my ($id, %more) = @_;
    return {type => 'event', id => $id, hook => 'rcpt', key => "k$id", attempt => 1, deadline_ms => 10_000, session => {client => {ip => '192.0.2.1'}},
        args => {recipient => {id => 1, address => 'a@example.org', local => 'a', domain => 'example.org', params => []}},
        transaction => {sender => {address => '', local => '', domain => undef, params => []}}, notes => {session => {}, transaction => {}}, %more};
}

my @started;
END { kill KILL => @started if @started }

sub start {
    my (%option) = @_;
    my $handler = delete $option{handler};
    my $pid = fork;
    die "fork: $!" if !defined $pid;
    if ($pid) { push @started, $pid; return $pid }
    open STDOUT, '>', '/dev/null';
    my $worker = Gatepost::Worker->new(name => 'w', runtime_directory => $run, look_every => 0.1, log => sub { }, %option);
    $worker->hook(rcpt => $handler || sub {return});
    my $done = eval { $worker->run; 1 };
    POSIX::_exit($done ? 0 : 1);
}
sub exit_code { my ($pid) = @_; waitpid $pid, 0; @started = grep { $_ != $pid } @started; return $? }

my $one = listener('mx1');
my $pid = start(handler => sub {
    my ($event) = @_;
    return Gatepost::Verdict::denysoft('cancelled') if $event->attempt == 2 && $event->wait_cancelled(10);
    return;
});
my $first = accepted($one);
is(line($first)->{type}, 'hello', 'the worker speaks first');
welcome($first, 'mx1');
say_line($first, event(1));
is(line($first)->{verdict}, 'declined', 'a verdict');
my $two    = listener('mx2');
my $second = accepted($two);
line($second);
welcome($second, 'mx2');
say_line($second, event(1));
is(line($second)->{verdict}, 'declined', 'a frontend that came later is served as well');
say_line($first, event(2, attempt => 2));
say_line($first, {type => 'ping', n => 7});
is(line($first)->{n}, 7, 'a ping is answered while a handler waits');
say_line($first, {type => 'cancel', id => 2, reason => 'client_gone'});
is(line($first)->{verdict}, 'denysoft', 'the handler hears of the cancel');
say_line($first, {type => 'event', id => 3});
is(line($first)->{code}, 'bad_message', 'a broken message ends the connection');
$first = accepted($one);
is(line($first)->{type}, 'hello', 'and the worker dials again');
say_line($first, {type => 'reject', code => 'pool_full', message => 'x', retry_ms => 1});
$first = accepted($one);
line($first);
welcome($first, 'mx1');
kill TERM => $pid;
is(line($_)->{type}, 'drain', 'SIGTERM drains') for $first, $second;
say_line($first, event(4));
is(line($first)->{verdict}, 'declined', 'what crossed is answered');
for my $socket ($first, $second) {
    say_line($socket, {type => 'drain', reason => 'requested'});
    is(line($socket)->{code}, 'drained', 'then bye');
}
is(exit_code($pid), 0, 'and exit 0');

close $second;
close $two;
unlink "$run/pools/policy/mx2.sock";
$pid = start(workers => 2);
my @links = map { accepted($one) } 1 .. 2;
my @pids = map { line($_)->{worker}{pid} } @links;
isnt($pids[0], $pids[1], 'two processes');
welcome($_, 'mx1') for @links;
kill KILL => $pids[0];
my $third = accepted($one);
isnt(line($third)->{worker}{pid}, $pids[0], 'one that dies is replaced');
welcome($third, 'mx1');
kill TERM => $pid;
for my $link ($links[1], $third) {
    is(line($link)->{type}, 'drain', 'each drains');
    say_line($link, {type => 'drain'});
    is(line($link)->{code}, 'drained', 'each leaves');
}
is(exit_code($pid), 0, 'exit 0');
done_testing();
