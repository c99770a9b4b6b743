package Gatepost::Worker;
use strict;
use warnings;
use B ();
use Errno qw(EAGAIN EWOULDBLOCK EINTR);
use Gatepost::Connection;
use Gatepost::Constants;
use Gatepost::Verdict ();
use Gatepost::Wire qw(true false);
use IO::Handle;
use IO::Select;
use POSIX ();
use Socket qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);
use Time::HiRes ();

my %HOOKS = %Gatepost::Constants::HOOKS;
my %NEEDS = map { $_ => 1 } @{$Gatepost::Constants::WORDS{needs}};
my $MOST_WAITING = 1_048_576;
my $MOST_NOTIFICATIONS = 1024;

sub new {
    my ($class, %option) = @_;
    my $self = bless {
        pool => 'policy', concurrency => 1, workers => 1, max_frame => 1_048_576, look_every => 1, drain_timeout => 60,
        handlers => {}, order => [], links => {}, queue => [], dropped_notifications => 0,
    }, $class;
    for my $name (keys %option) {
        $name =~ /\A(?:name|pool|runtime_directory|folder|concurrency|workers|max_frame|version|instance|look_every|drain_timeout|log|on_welcome)\z/
            or die "Gatepost::Worker: there is no option '$name'\n";
        $self->{$name} = $option{$name};
    }
    defined $self->{name} && $self->{name} =~ /\A[A-Za-z0-9._-]{1,64}\z/
        or die "Gatepost::Worker: name is 1 to 64 of A-Z a-z 0-9 . _ -\n";
    $self->{pool} =~ /\A[a-z0-9][a-z0-9_-]{0,63}\z/ or die "Gatepost::Worker: '$self->{pool}' is no name of a pool\n";
    $self->{log} ||= sub { print STDERR "$_[0] gatepost: $_[1]\n" };
    $self->{folder} ||= ($self->{runtime_directory} || $ENV{GATEPOST_RUNTIME_DIRECTORY} || 'var/run') . "/pools/$self->{pool}";
    return $self;
}

sub name { $_[0]{name} }
sub pool { $_[0]{pool} }
sub dropped_notifications { $_[0]{dropped_notifications} }
sub log { my ($self, $level, $text) = @_; return $self->{log}->($level, $text) }

sub hook {
    my ($self, $hook, @rest) = @_;
    my $function = pop @rest;
    my %option = @rest == 1 && ref $rest[0] eq 'HASH' ? %{$rest[0]} : @rest;
    exists $HOOKS{$hook} or die "there is no hook '$hook'\n";
    ref $function eq 'CODE' or die "hook('$hook'): the last argument is the handler, a reference to a sub\n";
    for my $name (keys %option) {
        $name =~ /\A(?:needs|observe|idempotent|plugin|extensions)\z/ or die "hook('$hook'): there is no option '$name'\n";
    }
    for my $need (@{$option{needs} || []}) {
        $NEEDS{$need} or die "hook('$hook'): there is no need '$need'; there are " . join(', ', sort keys %NEEDS) . "\n";
    }
    !$option{extensions} || $hook eq 'queue' && !$option{observe}
        or die "hook('$hook'): extensions are for a handler that is asked at queue\n";
    my $others = $self->{handlers}{$hook};
    !grep { !$_->{observe} != !$option{observe} } @{$others || []}
        or die "hook('$hook'): one worker either observes or decides a hook\n";
    my $plugin = $option{plugin};
    if (!defined $plugin) {
        $plugin = B::svref_2object($function)->GV->NAME;
        $plugin = $hook if $plugin eq '__ANON__';
    }
    push @{$self->{order}}, $hook if !$others;
    push @{$self->{handlers}{$hook}}, {%option, plugin => substr($plugin, 0, 128), function => $function};
    return $self;
}

sub hello {
    my ($self) = @_;
    my (%hooks, @plugins, %seen);
    for my $hook (@{$self->{order}}) {
        my @handlers = @{$self->{handlers}{$hook}};
        my %needed   = map { $_ => 1 } map { @{$_->{needs} || []} } @handlers;
        my %said;
        $said{needs}      = [sort keys %needed] if %needed;
        $said{observe}    = true() if $handlers[0]{observe};
        $said{idempotent} = true() if !grep { !$_->{idempotent} } @handlers;
        $hooks{$hook}     = \%said;
        push @plugins, grep { !$seen{$_}++ } map { $_->{plugin} } @handlers;
    }
    my @queues = @{$self->{handlers}{queue} || []};
    my @extensions = @queues ? @{$queues[0]{extensions} || []} : ();
    for my $handler (@queues) {
        my %kept = map { $_ => 1 } @{$handler->{extensions} || []};
        @extensions = grep { $kept{$_} } @extensions;
    }
    my %about = (name => $self->{name}, sdk => 'gatepost-perl/0.1.0', pid => int $$);
    for my $word (qw(version instance)) { $about{$word} = "$self->{$word}" if defined $self->{$word} }
    return {
        protocol => [1, 1], pool => $self->{pool}, worker => \%about, concurrency => int $self->{concurrency},
        max_frame => int $self->{max_frame}, plugins => \@plugins, hooks => \%hooks, violations => true(),
        @extensions ? (extensions => \@extensions) : (),
    };
}

sub connection { my ($self) = @_; return Gatepost::Connection->new($self->hello, log => sub { $self->{log}->(@_) }) }

# Runs the handlers of one event, and gives its one answer to the connection.
sub serve_event {
    my ($self, $connection, $event) = @_;
    my @handlers = @{$self->{handlers}{$event->hook} || []};
    if (!defined $event->id) {
        for my $handler (@handlers) {
            next if eval { local $SIG{__DIE__}; $handler->{function}->($event); 1 };
            my $why = Gatepost::Connection::for_people(defined $@ ? "$@" : '');
            $self->log('error', "$handler->{plugin} at " . $event->hook . ": $why");
        }
        return;
    }
    if ($event->{cancelled}) { $connection->fail($event, 'cancelled', 0, $event->cancel_reason); return }
    if ($event->hook eq 'queue') {
        my %needed = map { $_ => 1 } map { @{$_->{needs} || []} } @handlers;
        if (my @missing = grep { $needed{$_} } $event->elided) {
            $connection->fail($event, 'incomplete_event', 0, join(' and ', @missing) . ' did not fit into the event');
            return;
        }
    }
    my ($verdict, $plugin, $overdue, $at_work);
    local $SIG{ALRM} = sub {
        return if !$at_work;
        my $left = $event->plugin_seconds;
        if ($left > 0) { Time::HiRes::alarm($left); return }
        $overdue = 1;
        Time::HiRes::alarm(0.1);    # a handler may catch this one and go on
        die "the deadline of $event->{raw}{deadline_ms} ms is over\n";
    };
    my $answered = eval {
        local $SIG{__DIE__};
        $at_work = 1;
        my $left = $event->plugin_seconds;
        Time::HiRes::alarm($left > 0.001 ? $left : 0.001);
        for my $handler (@handlers) {
            $plugin = $handler->{plugin};
            my $began = Time::HiRes::time();
            $verdict = Gatepost::Verdict->from_answer($handler->{function}->($event));
            my $us = int((Time::HiRes::time() - $began) * 1e6);
            push @{$event->{trace}}, {plugin => $plugin, verdict => $verdict->word, us => $us < 0 ? 0 : $us};
            last if $verdict->word ne 'declined' || $handler == $handlers[-1];
            $event->take_actions($verdict->actions);
            $event->take_notes($verdict->notes);
        }
        $at_work = 0;
        1;
    };
    my $error = $@;
    $at_work = 0;
    Time::HiRes::alarm(0);
    if ($overdue) { $error = "the deadline of $event->{raw}{deadline_ms} ms is over" }
    elsif ($answered && $verdict) { $connection->answer($event, $verdict); return }
    my $why = defined $error && "$error" ne '' ? "$error" : 'the handler failed';
    chomp $why;
    $self->log('error', Gatepost::Connection::for_people("$plugin at " . $event->hook . ' ' . $event->key . ": $why"));
    $connection->fail($event, $overdue ? 'deadline' : 'exception', 1, $why, $plugin);
    return;
}

# Life

sub run {
    my ($self) = @_;
    STDOUT->autoflush(1);
    if (!$self->{on_welcome}) {
        my $said;
        $self->{on_welcome} = sub {
            my ($welcome) = @_;
            return if $said++;
            my $frontend = ref $welcome->{frontend} eq 'HASH' ? $welcome->{frontend}{id} : '?';
            print "ready: worker $self->{name}, pool $self->{pool}, frontend $frontend\n";
        };
    }
    local $SIG{PIPE} = 'IGNORE';
    return $self->_supervise if $self->{workers} > 1;
    local @SIG{qw(TERM INT)} = ($self->_stopper('TERM'), $self->_stopper('INT'));
    return $self->serve;
}

sub _stopper {
    my ($self, $name) = @_;
    return sub { POSIX::_exit($name eq 'TERM' ? 143 : 130) if $self->{stopping}++ };
}
sub stop { my ($self) = @_; $self->{stopping} ||= 1; return }

# One process for each of `workers`; one that dies is replaced, SIGTERM drains them all.
sub _supervise {
    my ($self) = @_;
    my (%born, $stop, $stopped_at);
    local @SIG{qw(TERM INT)} = (sub { $stop++ }) x 2;
    my $start = sub {
        my $pid = fork;
        if (!defined $pid) { $self->log('error', "fork: $!"); return }
        if ($pid) { $born{$pid} = time; return }
        @SIG{qw(TERM INT)} = ($self->_stopper('TERM'), $self->_stopper('INT'));
        $self->{parent} = getppid;
        $self->stop if $stop;
        srand;
        my $ended = eval { $self->serve; 1 };
        $self->log('error', "$@") if !$ended;
        POSIX::_exit($ended ? 0 : 1);
    };
    my $told = 0;
    while (1) {
        while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0) {
            next if !defined delete $born{$pid};
            $self->log('warning', "the process $pid ended ($?); another one takes its place") if !$stop;
        }
        last if $stop && !%born;
        if (!$stop) {
            $start->() for 1 .. $self->{workers} - keys %born;
        }
        elsif ($told < $stop) {
            $told = $stop;
            $stopped_at ||= Time::HiRes::time();
            kill TERM => keys %born;
        }
        elsif (Time::HiRes::time() > $stopped_at + $self->{drain_timeout} + 5) { kill KILL => keys %born }
        Time::HiRes::sleep($stop ? 0.05 : 0.5);
    }
    return;
}

sub serve {
    my ($self) = @_;
    my ($looked, $drained_at) = (0);
    my %due;
    while (1) {
        my $now = Time::HiRes::time();
        $self->stop if $self->{parent} && getppid != $self->{parent};
        if ($self->{stopping}) {
            if (!$drained_at) {
                $drained_at = $now;
                $self->log('info', 'draining');
                $_->{connection}->drain for values %{$self->{links}};
            }
            $self->_flush($_) for values %{$self->{links}};
            last if !%{$self->{links}} || $now > $drained_at + $self->{drain_timeout};
        }
        elsif ($now >= $looked + $self->{look_every} || grep { $_->{at} <= $now } values %due) {
            $looked = $now;
            my %there;
            if (opendir my $folder, $self->{folder}) {
                %there = map { ("$self->{folder}/$_" => 1) } grep {/\.sock\z/} readdir $folder;
            }
            for my $path (keys %there) {
                next if $self->{links}{$path};
                my $due = $due{$path} ||= {at => 0, backoff => 0.05};
                next if $due->{at} > $now;
                $self->_dial($path) or _later($due, 0);
            }
            delete $due{$_} for grep { !$there{$_} && !$self->{links}{$_} } keys %due;
        }
        my $next = $looked + $self->{look_every};
        for my $due (grep { $_->{at} > $now } values %due) { $next = $due->{at} if $due->{at} < $next }
        my $wait = @{$self->{queue}} ? 0 : $next - Time::HiRes::time();
        $wait = 0.1 if $self->{stopping} && $wait > 0.1;
        $self->_turn($wait > 0 ? $wait : 0);
        if (my $job = shift @{$self->{queue}}) {
            my ($link, $event) = @$job;
            if (!$link->{gone}) {
                $event->{pump} = sub { $self->_turn($_[0], 1) };
                $event->{send} = sub { $link->{connection}->progress($_[0]); $self->_flush($link) };
                $self->serve_event($link->{connection}, $event);
                delete @$event{qw(pump send)};
                $self->_flush($link);
            }
        }
        for my $path (keys %{$self->{links}}) {
            my $link = $self->{links}{$path};
            my $connection = $link->{connection};
            if (!$connection->welcome && !$connection->closed && Time::HiRes::time() > $link->{began} + 5) {
                $connection->leave('timeout');
                $self->_flush($link);
            }
            next if !$link->{gone};
            delete $self->{links}{$path};
            my $due = $due{$path} ||= {at => 0, backoff => 0.05};
            $due->{backoff} = 0.05 if $connection->welcome;
            my $retry = ($connection->rejected || {})->{retry_ms};
            _later($due, Gatepost::Wire::is_integer($retry) && $retry > 0 ? $retry / 1000 : 0);
            my $why = $connection->close_reason;
            $self->log('warning', Gatepost::Connection::for_people("$path: connection lost (" . (defined $why ? $why : 'end of file') . '); dialling again'))
                if !$self->{stopping};
        }
    }
    for my $link (values %{$self->{links}}) { $link->{connection}->leave; $self->_flush($link) }
    $self->{links} = {};
    return;
}

sub _later {
    my ($due, $least) = @_;
    my $delay = rand $due->{backoff};
    $due->{at} = Time::HiRes::time() + ($delay > $least ? $delay : $least);
    $due->{backoff} = $due->{backoff} * 2 > 2 ? 2 : $due->{backoff} * 2;
    return;
}

sub _dial {
    my ($self, $path) = @_;
    my $address = eval { pack_sockaddr_un($path) } or return 0;
    socket my $socket, AF_UNIX, SOCK_STREAM, 0 or return 0;
    $socket->blocking(0);
    connect $socket, $address or return 0;
    my $link = {socket => $socket, connection => $self->connection, out => '', began => Time::HiRes::time()};
    $self->{links}{$path} = $link;
    $self->_flush($link);
    return 1;
}

# Waits so long for the sockets, reads, writes, and queues the events.
sub _turn {
    my ($self, $wait, $within) = @_;
    my ($reading, $writing) = (IO::Select->new, IO::Select->new);
    my %of;
    for my $link (grep { !$_->{gone} } values %{$self->{links}}) {
        $of{fileno $link->{socket}} = $link;
        $reading->add($link->{socket}) if length $link->{out} < $MOST_WAITING;
        $writing->add($link->{socket}) if length $link->{out};
    }
    if (!%of) { Time::HiRes::sleep($wait) if $wait > 0 && !$self->{stopping}; return }
    my ($readable, $writable) = IO::Select::select($reading, $writing, undef, $wait);
    $self->_flush($of{fileno $_}) for @{$writable || []};
    $self->_read($of{fileno $_}) for grep { fileno $_ } @{$readable || []};
    return;
}

sub _read {
    my ($self, $link) = @_;
    return if $link->{gone};
    my $connection = $link->{connection};
    my $count = sysread $link->{socket}, my $octets, 262_144;
    if (!defined $count) {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        return $self->_gone($link);
    }
    return $self->_gone($link) if $count == 0;
    my $greeted = $connection->welcome;
    for my $event ($connection->receive($octets)) {
        if (!defined $event->id) {
            if (++$link->{notifications} > $MOST_NOTIFICATIONS && @{$self->{queue}} > $MOST_NOTIFICATIONS) {
                $self->{dropped_notifications}++;
                next;
            }
        }
        push @{$self->{queue}}, [$link, $event];
    }
    if (!$greeted && $connection->welcome) {
        $self->{on_welcome}->($connection->welcome) if $self->{on_welcome};
        $connection->drain if $self->{stopping};
    }
    $self->_flush($link);
    return;
}

sub _flush {
    my ($self, $link) = @_;
    return if $link->{gone};
    $link->{out} .= $link->{connection}->take;
    while (length $link->{out}) {
        my $count = syswrite $link->{socket}, $link->{out}, 262_144;
        if (!defined $count) {
            next if $! == EINTR;
            return if $! == EAGAIN || $! == EWOULDBLOCK;
            return $self->_gone($link);
        }
        substr $link->{out}, 0, $count, '';
    }
    $self->_gone($link) if $link->{connection}->closed;
    return;
}

sub _gone {
    my ($self, $link) = @_;
    $link->{gone} = 1;
    $link->{connection}->lost;
    close $link->{socket};
    return;
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Worker - handlers, and the connections to every frontend of a pool

=head1 SYNOPSIS

    my $worker = Gatepost::Worker->new(name => 'example', pool => 'perl', workers => 4);
    $worker->hook('data_post', needs => ['headers', 'message'], \&scan);
    $worker->run;

=head1 DESCRIPTION

The options of C<new> and C<hook> are in README.md. C<run> serves until SIGTERM or SIGINT, then drains; a second signal ends at
once. With C<workers> above 1 it forks so many processes, and replaces those that die. C<stop> drains from within.

A handler is ended by SIGALRM shortly before the frontend's deadline; the answer is then the error C<deadline>.

=cut
