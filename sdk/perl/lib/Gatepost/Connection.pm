package Gatepost::Connection;
use strict;
use warnings;
use Gatepost::Check 'check';
use Gatepost::Constants;
use Gatepost::Event;
use Gatepost::Wire qw(parse_line encode_line is_integer);

use constant LARGEST => 9007199254740991;
my %LIMIT = %{$Gatepost::Constants::WORDS{limits}};
my %MESSAGES = (%{$Gatepost::Constants::WORDS{messages}}, violation => 'frontend');
my %SERVED = map { $_ => 1 } qw(event notify cancel ping pong drain bye violation);

sub new {
    my ($class, $hello, %option) = @_;
    return bless {
        hello => $hello, hooks => $hello->{hooks}, max_frame => $hello->{max_frame} || $LIMIT{default_max_frame},
        concurrency => defined $hello->{concurrency} ? $hello->{concurrency} : 1,
        peer_max_frame => $LIMIT{handshake_frame}, outstanding => {}, held => '', outgoing => encode_line({%$hello, type => 'hello'}),
        out_folder => '', log => $option{log} || sub { },
    }, $class;
}

sub welcome      { $_[0]{welcome} }
sub rejected     { $_[0]{rejected} }
sub closed       { $_[0]{closed} }
sub close_reason { $_[0]{close_reason} }
sub outstanding  { scalar keys %{$_[0]{outstanding}} }
sub waiting      { length $_[0]{outgoing} }
sub take         { my ($self) = @_; return substr $self->{outgoing}, 0, length $self->{outgoing}, '' }

sub receive {
    my ($self, $octets) = @_;
    return if $self->{closed};
    my $scanned = length $self->{held};
    $self->{held} .= $octets;
    my ($start, @events) = (0);
    while ((my $end = index $self->{held}, "\n", $scanned) >= 0) {
        my $length = $end - $start + 1;
        return $self->_too_long(@events) if $length > $self->{max_frame};
        my $line = substr $self->{held}, $start, $length;
        $start = $scanned = $end + 1;
        my $event = eval { $self->_message(parse_line($line)) };
        if (my $error = $@) {
            die $error if ref $error ne 'Gatepost::ProtocolError';
            $self->_close($error->code, "$error");
            return @events;
        }
        push @events, $event if $event;
        return @events if $self->{closed};
    }
    substr $self->{held}, 0, $start, '';
    return $self->_too_long(@events) if length $self->{held} >= $self->{max_frame};
    return @events;
}

sub _too_long {
    my ($self, @events) = @_;
    $self->_close('frame_too_long', "a line of over $self->{max_frame} octets");
    return @events;
}

sub lost {
    my ($self) = @_;
    $self->{closed} = 1;
    $_->cancel('disconnected') for values %{$self->{outstanding}};
    $self->{outstanding} = {};
    return;
}

sub drain {
    my ($self, $reason) = @_;
    if    (!$self->{welcome}) { $self->_close('stopping') }
    elsif (!$self->{drain_sent}) {
        $self->{drain_sent} = 1;
        $self->_put({type => 'drain', reason => $reason || 'stopping'});
        $self->_leave_if_done;
    }
    return;
}
sub leave { my ($self, $code) = @_; return $self->_close($code || 'stopping') }

# Answers: for each event one.

sub _waits { my ($self, $event) = @_; return defined $event->id && ($self->{outstanding}{$event->id} || 0) == $event }

sub answer {
    my ($self, $event, $verdict) = @_;
    return 0 if !$self->_waits($event);
    my $message = {type => 'verdict', id => $event->id, verdict => $verdict->word};
    my $line = eval {
        my $notes = $event->notes_patch($verdict->notes);
        $event->take_actions(ref $verdict->actions eq 'ARRAY' ? $verdict->actions : die "actions is no list\n");
        my $reply = $verdict->reply;
        my @trace = @{$event->{trace}};
        $message->{plugin}  = $trace[-1]{plugin} if @trace && $verdict->word ne 'declined';
        $message->{reply}   = $reply             if $reply;
        $message->{notes}   = $notes             if ref $notes ne 'HASH' || %$notes;
        $message->{actions} = $event->actions    if @{$event->actions};
        $message->{trace}   = \@trace            if @trace;
        my ($violation, $why) = check($event->raw, $message);
        die "$violation: $why\n" if defined $violation;
        my $octets = encode_line($message);
        my $text_has_more = $reply || ref $notes && %$notes || @{$event->actions};
        parse_line($octets) if $text_has_more;
        die length($octets) . " octets are more than the frontend takes ($self->{peer_max_frame})\n"
            if length $octets > $self->{peer_max_frame};
        $octets;
    };
    if (!defined $line) {
        my $why = "$@";
        chomp $why;
        my $plugin = @{$event->{trace}} ? $event->{trace}[-1]{plugin} : undef;
        my $text = (defined $plugin ? $plugin : 'a handler') . ' at ' . $event->hook . ": $why";
        $self->{log}->('error', $text);
        $self->fail($event, 'invalid_verdict', 1, $text, $plugin);
        return 0;
    }
    delete $self->{outstanding}{$event->id};
    $self->{outgoing} .= $line;
    $self->_leave_if_done;
    return 1;
}

sub fail {
    my ($self, $event, $code, $started, $message, $plugin) = @_;
    return 0 if !$self->_waits($event);
    delete $self->{outstanding}{$event->id};
    $self->_error($event->id, $code, $started, $message, $plugin);
    $self->_leave_if_done;
    return 1;
}

sub progress {
    my ($self, $message) = @_;
    $self->_put($message) if $self->{outstanding}{$message->{id}};
    return;
}

sub _put { my ($self, $message) = @_; $self->{outgoing} .= encode_line($message); return }

# At most 1024 characters of text; octets that are not UTF-8 are shown as \xHH.
sub for_people {
    my ($text) = @_;
    $text = Gatepost::Wire::octets($text);
    $text =~ s/([\x80-\xff])/sprintf '\\x%02X', ord $1/ge if !Gatepost::Wire::valid_utf8($text);
    utf8::decode($text);
    $text = substr $text, 0, 1024;
    utf8::encode($text);
    return $text;
}

sub _error {
    my ($self, $id, $code, $started, $message, $plugin) = @_;
    my $error = {type => 'error', id => $id, code => $code, started => $started ? Gatepost::Wire::true() : Gatepost::Wire::false()};
    $error->{plugin}  = $plugin if defined $plugin && $plugin ne '';
    $error->{message} = for_people($message) if defined $message && $message ne '';
    return $self->_put($error);
}

sub _close {
    my ($self, $code, $message) = @_;
    return if $self->{closed};
    $self->{closed} = 1;
    $self->{close_reason} = defined $message ? "$code: $message" : $code;
    return $self->_put({type => 'bye', code => $code, defined $message ? (message => for_people($message)) : ()});
}

sub _leave_if_done {
    my ($self) = @_;
    $self->_close('drained') if $self->{drain_sent} && $self->{drain_received} && !%{$self->{outstanding}};
    return;
}

sub _refuse { my ($code, $message) = @_; die Gatepost::ProtocolError->new($code, $message) }
sub _word { my ($value) = @_; return defined $value && !ref $value && !Gatepost::Wire::is_number($value) ? $value : '' }
sub _is_integer { my ($value, $lowest) = @_; return is_integer($value) && $value >= $lowest && $value <= LARGEST }

sub _ended {
    my ($self, $message, $how) = @_;
    my ($code, $text) = map { defined $_ && !ref $_ ? $_ : '' } @$message{qw(code message)};
    $self->{closed} = 1;
    $self->{close_reason} = "$how: $code: $text";
    return;
}

sub _message {
    my ($self, $message) = @_;
    my $type = _word($message->{type});
    if (!$self->{welcome}) {
        if ($type eq 'welcome') {
            _is_integer($message->{protocol}, 1) && $message->{protocol} == 1 && _is_integer($message->{max_frame}, $LIMIT{least_max_frame})
                or _refuse('bad_message', 'welcome without protocol 1 or max_frame');
            $self->{welcome} = $message;
            $self->{peer_max_frame} = $message->{max_frame};
            $self->{concurrency} = $message->{concurrency} if _is_integer($message->{concurrency}, 0);
            $self->{out_folder} = _word($message->{spool}) . "/out/$self->{hello}{pool}";
        }
        elsif ($type eq 'reject') { $self->{rejected} = $message; $self->_ended($message, 'rejected') }
        elsif ($type eq 'bye') { $self->_ended($message, 'the frontend said bye') }
        else { _refuse($MESSAGES{$type} ? 'unexpected_message' : 'unknown_type', "'$type' before the welcome") }
        return;
    }
    _refuse($MESSAGES{$type} ? 'unexpected_message' : 'unknown_type', 'type ' . substr $type, 0, 80) if !$SERVED{$type};
    return $self->_event($message) if $type eq 'event';
    if ($type eq 'notify') {
        return if !exists $self->{hooks}{_word($message->{hook})};
        return eval { Gatepost::Event->new($message) };
    }
    if ($type eq 'cancel') {
        _is_integer($message->{id}, 1) or _refuse('bad_message', 'cancel without an id');
        my $event = $self->{outstanding}{$message->{id}};
        $event->cancel(_word($message->{reason})) if $event;
    }
    elsif ($type eq 'ping') {
        _is_integer($message->{n}, -LARGEST()) or _refuse('bad_message', 'ping without n');
        $self->_put({type => 'pong', n => $message->{n}});
    }
    elsif ($type eq 'drain') {
        $self->{drain_received} = 1;
        $self->drain(_word($message->{reason}) || 'draining');
        $self->_leave_if_done;
    }
    elsif ($type eq 'violation') {
        my ($plugin, $hook, $violation, $text) = map { _word($message->{$_}) } qw(plugin hook violation message);
        $self->{log}->('error', "the frontend refused an answer: $plugin at $hook: $violation: $text");
    }
    elsif ($type eq 'bye') { $self->_ended($message, 'the frontend said bye') }
    return;
}

sub _event {
    my ($self, $message) = @_;
    my ($id, $hook) = ($message->{id}, _word($message->{hook}));
    _is_integer($id, 1) && $hook ne '' or _refuse('bad_message', 'an event without an id or a hook');
    _refuse('bad_message', "the id $id twice") if $self->{outstanding}{$id};
    if ($self->outstanding >= $self->{concurrency}) {
        $self->_error($id, 'overloaded', 0, "more than $self->{concurrency} events");
        return;
    }
    if (!exists $self->{hooks}{$hook}) { $self->_error($id, 'not_subscribed', 0, $hook); return }
    if (grep({ ref $message->{$_} ne 'HASH' } qw(session args notes)) || !_is_integer($message->{deadline_ms}, 0)) {
        $self->_error($id, 'bad_event', 1, 'session, args, notes or deadline_ms');
        return;
    }
    my $event = Gatepost::Event->new($message);
    $event->{out_folder} = $self->{out_folder};
    return $self->{outstanding}{$id} = $event;
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Connection - the worker's half of the protocol, without a socket

=head1 DESCRIPTION

C<receive($octets)> gives the events and notifications to run now; C<answer($event, $verdict)> and C<fail($event, $code, $started,
$message, $plugin)> answer, once for each event; C<take> gives the octets to write; after C<closed> nothing more is read.

=cut
