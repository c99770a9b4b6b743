package Gatepost::Check;
use strict;
use warnings;
use Gatepost::Constants;
use Gatepost::Wire qw(encode to_octets is_integer is_bool valid_utf8 octets);
use Exporter 'import';
our @EXPORT_OK = qw(check merge);

my %HOOKS  = %Gatepost::Constants::HOOKS;
my %NEEDED = %{$Gatepost::Constants::WORDS{actions}};
my %LIMIT  = %{$Gatepost::Constants::WORDS{limits}};
my %VERDICTS = map { $_ => 1 } @{$Gatepost::Constants::WORDS{verdicts}};

sub _shown {
    my ($value) = @_;
    my $text = eval { encode($value) };
    $text = '(not JSON)' if !defined $text;
    return length $text > 80 ? substr($text, 0, 77) . '...' : $text;
}

# Ends the check with the rule that is broken.
sub _broken { my ($id, $where, $why, @value) = @_; die [$id, "$where: " . (@value ? _shown($value[0]) . ': ' : '') . $why] }

sub _text { my ($value) = @_; return defined $value && !ref $value && !Gatepost::Wire::is_number($value) }

sub merge {
    my ($target, $patch) = @_;
    return $patch if ref $patch ne 'HASH';
    my %result = ref $target eq 'HASH' ? %$target : ();
    for my $key (keys %$patch) {
        if (defined $patch->{$key}) { $result{$key} = merge($result{$key}, $patch->{$key}) }
        else                        { delete $result{$key} }
    }
    return \%result;
}

sub check {
    my ($event, $verdict) = @_;
    my $done = eval { _check($event, $verdict); 1 };
    return if $done;
    return @{$@} if ref $@ eq 'ARRAY';
    die $@;
}

sub _reply_form {
    my ($reply, $where) = @_;
    return if !defined $reply;
    ref $reply eq 'HASH' or _broken('reply_malformed', $where, 'not an object', $reply);
    !defined $reply->{code} || is_integer($reply->{code})
        or _broken('reply_malformed', "$where.code", 'not an integer', $reply->{code});
    !defined $reply->{status} || _text($reply->{status})
        or _broken('reply_malformed', "$where.status", 'not a string', $reply->{status});
    return if !defined $reply->{text};
    ref $reply->{text} eq 'ARRAY' or _broken('reply_malformed', "$where.text", 'not a list', $reply->{text});
    _text($_) or _broken('reply_malformed', "$where.text", 'not a string', $_) for @{$reply->{text}};
}

sub _reply_rules {
    my ($event, $hook, $word, $reply, $where) = @_;
    my $table = $HOOKS{$hook};
    my %said  = map { $_ => $reply->{$_} } grep { defined $reply->{$_} } qw(code status text);
    if ($word eq 'done' && $hook ne 'auth') {
        defined $said{code} && $said{text} or _broken('reply_missing', $where, 'done needs code and text');
    }
    if ($word eq 'ok' && $table->{ok_reply} eq 'text') {
        $said{text} or _broken('reply_missing', $where, "ok at $hook needs text");
        !defined $said{code} && !defined $said{status}
            or _broken('reply_not_allowed', $where, "ok at $hook takes only text");
    }
    return if !%said;
    $word ne 'declined' && !($word eq 'ok' && $table->{ok_reply} eq 'none') && !($word eq 'done' && $hook eq 'auth')
        or _broken('reply_not_allowed', $where, "the client would not get the reply of $word at $hook");
    my $code = $said{code};
    if (defined $code) {
        my $closes  = $word =~ /_disconnect/ || $hook eq 'connect' && $word =~ /deny/;
        my $allowed
            = $word eq 'ok' ? grep { $_ == $code } @{$table->{ok_codes}}
            : $word eq 'done' ? ($hook eq 'quit' ? $code == 221
                : ($code >= 200 && $code <= 259 || $code >= 400 && $code <= 459 || $code >= 500 && $code <= 559)
                    && $code != 221 && $code != 421 && $code != 521)
            : ($word =~ /soft/ ? $code >= 400 && $code <= 459 : $code >= 500 && $code <= 559)
                && ($closes || $code != 421 && $code != 521);
        $allowed or _broken('reply_code', "$where.code", "not a code of $word at $hook", $code);
    }
    if (defined(my $status = $said{status})) {
        my ($digit) = $status =~ /\A([245])\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2})\z/
            or _broken('reply_status', "$where.status", 'not an enhanced status code', $status);
        my $class = defined $code ? int($code / 100) : $word =~ /soft/ ? 4 : $word =~ /deny/ ? 5 : 2;
        $class = 2 if $class == 3;
        $digit == $class or _broken('reply_status', "$where.status", "not of the class $class", $status);
    }
    if (my $text = $said{text}) {
        @$text >= 1 && @$text <= $LIMIT{reply_lines}
            or _broken('reply_text', "$where.text", @$text . ' lines, of 1 to ' . $LIMIT{reply_lines});
        for my $index (0 .. $#$text) {
            my $at   = "$where.text[$index]";
            my $line = octets($text->[$index]);
            valid_utf8($line) or _broken('reply_text', $at, 'not UTF-8');
            length $line <= $LIMIT{reply_line_octets} or _broken('reply_text', $at, 'over 500 octets', $line);
            $line !~ /[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]/
                or _broken('reply_text', $at, 'a control character', $line);
            $line !~ /[\x80-\xff]/ || _smtputf8($event) or _broken('reply_text', $at, 'not ASCII without SMTPUTF8', $line);
        }
    }
}

sub _smtputf8 {
    my ($event) = @_;
    my $sender = $event->{transaction} && $event->{transaction}{sender} || $event->{args}{sender};
    return ref $sender eq 'HASH' && grep { $_->[0] eq 'SMTPUTF8' } @{$sender->{params} || []};
}

my %FIELD = (
    id        => \&is_integer,
    ms        => sub { is_integer($_[0]) && $_[0] >= 0 },
    name      => sub { defined $_[0] && defined eval { to_octets($_[0]) } },
    value     => sub { defined $_[0] && defined eval { to_octets($_[0]) } },
    address   => sub { defined $_[0] && defined eval { to_octets($_[0]) } },
    challenge => sub { defined $_[0] && defined eval { to_octets($_[0]) } },
    state     => sub { defined $_[0] && defined eval { to_octets($_[0]) } },
    path      => \&_text,
    verdict   => sub { _text($_[0]) && $_[0] =~ /\Adeny(?:soft)?\z/ },
);

sub _action_form {
    my ($action, $where) = @_;
    ref $action eq 'HASH' or _broken('actions_malformed', $where, 'not an object', $action);
    my $op = $action->{op};
    _text($op) or _broken('actions_malformed', "$where.op", 'not a string', $op);
    my $needed = $NEEDED{$op} or return;
    for my $field (@$needed) {
        my $value = $action->{$field};
        my $right
            = $op eq 'session.relay' ? is_bool($value)
            : $op eq 'session.client_name' ? exists $action->{value} && (!defined $value || $FIELD{value}->($value))
            :                            $FIELD{$field}->($value);
        $right or _broken('actions_malformed', "$where.$field", 'missing, or of a wrong type', $value);
    }
    my $at = $action->{at};
    !defined $at || $op ne 'header.add' || _text($at) && $at =~ /\A(?:top|bottom)\z/
        or _broken('actions_malformed', "$where.at", 'neither top nor bottom', $at);
    _reply_form($action->{reply}, "$where.reply") if $op eq 'recipient.refuse';
}

sub _address {
    my ($address, $event, $where, $may_be_empty) = @_;
    my $octets = to_octets($address);
    return if $octets eq '' && $may_be_empty;
    my $high = _smtputf8($event) ? '\x80-\xff' : '';
    my $atom = qr/[A-Za-z0-9!#\$%&'*+\/=?^_`{|}~$high-]+/;
    my $label = qr/[A-Za-z0-9$high](?:[A-Za-z0-9$high-]*[A-Za-z0-9$high])?/;
    my $right = $octets =~ /\A($atom(?:\.$atom)*|"(?:[\x20\x21\x23-\x5b\x5d-\x7e$high]|\\[\x20-\x7e])*")\@($label(?:\.$label)*|\[[\x21-\x5a\x5e-\x7e]+\])\z/
        && length $1 <= 64 && length $2 <= 255 && length $octets <= 254
        && ($2 =~ /\A\[/ || !grep { length $_ > 63 } split /\./, $2);
    $right = 1 if !$may_be_empty && lc $octets eq 'postmaster';
    $right or _broken('address_invalid', $where, 'not an address of SMTP', $address);
    return;
}

sub _header_value {
    my ($event, $value, $name_octets, $where, $before) = @_;
    my $octets = to_octets($value);
    my $wrong = sub { _broken('header_value', $where, $_[0], $value) };
    my $fields = $event->{transaction}{headers} || [];
    my $known = grep { to_octets($_->{value}) eq $octets } @$fields;
    index($octets, "\0") < 0 or $wrong->('NUL');
    length $octets <= $LIMIT{header_value_octets} or $wrong->('over 65536 octets');
    my @lines = split /\r\n(?=[ \t])/, $octets, -1;
    @lines = ('') if !@lines;
    for my $index (0 .. $#lines) {
        my $line = $lines[$index];
        $line !~ /\r\n/ or $wrong->('CRLF that no space or TAB follows');
        $line !~ /\n/ or $wrong->('a bare LF');
        $line !~ /\r/ or $wrong->('a bare CR');
        $index == 0 || $line =~ /[^ \t]/ or $wrong->('a line of white space alone');
        my $length = length($line) + ($index ? 0 : $name_octets + 1 + ($line =~ /\A[ \t]/ ? 0 : 1));
        $known || $length <= $LIMIT{header_line_octets} or $wrong->('a line over 998 octets');
    }
    return if $octets !~ /[\x80-\xff]/ || _smtputf8($event) || $known;
    $before && to_octets($before->{value}) =~ /[\x80-\xff]/ or $wrong->('not ASCII without SMTPUTF8');
}

sub _check {
    my ($event, $verdict) = @_;
    my $word = $verdict->{verdict};
    _text($word) && $VERDICTS{$word} or _broken('unknown_verdict', 'verdict', 'none of the seven verdicts', $word);
    my $plugin = $verdict->{plugin};
    !defined $plugin || _text($plugin) && do { my $text = $plugin; utf8::decode($text); length $text <= $LIMIT{short_text} }
        or _broken('plugin_malformed', 'plugin', 'not a string of at most 128 characters', $plugin);
    _reply_form($verdict->{reply}, 'reply');
    my $notes = $verdict->{notes};
    if (defined $notes) {
        ref $notes eq 'HASH' or _broken('notes_malformed', 'notes', 'not an object', $notes);
        for my $scope (qw(session transaction)) {
            !exists $notes->{$scope} || ref $notes->{$scope} eq 'HASH'
                or _broken('notes_malformed', "notes.$scope", 'not an object', $notes->{$scope});
        }
    }
    my $actions = $verdict->{actions};
    $actions = [] if !defined $actions;
    ref $actions eq 'ARRAY' or _broken('actions_malformed', 'actions', 'not a list', $actions);
    @$actions <= $LIMIT{actions} or _broken('too_many_actions', 'actions', @$actions . ' actions, at most 256');
    for my $index (0 .. $#$actions) {
        _action_form($actions->[$index], "actions[$index]");
        $NEEDED{$actions->[$index]{op}}
            or _broken('unknown_action', "actions[$index].op", 'no action', $actions->[$index]{op});
    }
    if (defined(my $trace = $verdict->{trace})) {
        ref $trace eq 'ARRAY' && @$trace <= $LIMIT{trace} or _broken('trace_malformed', 'trace', 'not a list of at most 256');
        for my $entry (@$trace) {
            ref $entry eq 'HASH' && _text($entry->{plugin}) && _text($entry->{verdict}) && $VERDICTS{$entry->{verdict}}
                && is_integer($entry->{us}) && $entry->{us} >= 0
                or _broken('trace_malformed', 'trace', 'an entry needs plugin, verdict and us', $entry);
        }
    }
    my $hook = $event->{hook};
    if (defined $verdict->{hook}) {
        my $other = $verdict->{hook};
        _text($other) && ($other eq $hook || exists(($event->{ahead} || {})->{$other}))
            or _broken('hook_not_reached', 'hook', 'not the hook of the event, nor one ahead', $other);
        $hook = $other;
    }
    my $table = $HOOKS{$hook};
    $table && $table->{verdicts} && exists $table->{verdicts}{$word}
        or _broken('verdict_not_allowed', 'verdict', "not allowed at $hook", $word);
    _reply_rules($event, $hook, $word, $verdict->{reply} || {}, 'reply');
    for my $scope (qw(session transaction)) {
        my $patch = $notes && $notes->{$scope} or next;
        if ($scope eq 'transaction' && !$event->{transaction}) {
            !%$patch or _broken('notes_no_transaction', 'notes.transaction', 'there is no transaction');
            next;
        }
        my $left = merge(($event->{notes} || {})->{$scope}, $patch);
        length encode($_) <= $LIMIT{notes_octets}
            or _broken('notes_too_large', "notes.$scope", 'over 65536 octets') for $patch, $left;
    }
    _actions($event, $hook, $word, $actions);
    return;
}

sub _actions {
    my ($event, $hook, $word, $actions) = @_;
    my %allowed = map { $_ => 1 } @{$HOOKS{$hook}{actions} || []};
    for my $index (0 .. $#$actions) {
        my $op = $actions->[$index]{op};
        $allowed{$op} or _broken('action_not_allowed', "actions[$index]", "$op is not allowed at $hook");
        $op ne 'message.replace' || $index == 0
            or _broken('action_not_allowed', "actions[$index]", 'message.replace is the first action, once');
    }
    my $transaction = $event->{transaction} || {};
    my $headers = $transaction->{headers} ? {map { $_->{id} => $_ } @{$transaction->{headers}}} : undef;
    my $recipients = $transaction->{recipients} ? {map { $_->{id} => 1 } @{$transaction->{recipients}}} : undef;
    my $candidate = $hook eq 'rcpt' && ref $event->{args}{recipient} eq 'HASH' ? $event->{args}{recipient}{id} : undef;
    my ($challenges, $added) = (0, 0);
    for my $index (0 .. $#$actions) {
        my $action = $actions->[$index];
        my ($op, $where) = ($action->{op}, "actions[$index]");
        my $field;
        if ($op =~ /\Aheader\.(?:set|delete)\z/) {
            my $id = $action->{id};
            !$headers ? $id >= 1 : ($field = $headers->{$id})
                or _broken('unknown_header', "$where.id", 'no header field has this id', $id);
        }
        if ($op =~ /\Aheader\.(?:add|delete_all)\z/) {
            my $name = to_octets($action->{name});
            $name =~ /\A[\x21-\x39\x3b-\x7e]{1,255}\z/
                or _broken('header_name', "$where.name", 'not a field name of RFC 5322', $action->{name});
            if ($op eq 'header.delete_all' && $headers) {
                delete $headers->{$_} for grep { lc to_octets($headers->{$_}{name}) eq lc $name } keys %$headers;
            }
        }
        if ($op =~ /\Aheader\.(?:add|set)\z/) {
            my $name = $op eq 'header.add' ? to_octets($action->{name}) : $field ? to_octets($field->{name}) : '';
            _header_value($event, $action->{value}, length $name, "$where.value", $field);
        }
        delete $headers->{$action->{id}} if $op eq 'header.delete' && $headers;
        _address($action->{address}, $event, "$where.address", $op eq 'sender.replace') if exists $NEEDED{$op} && grep { $_ eq 'address' } @{$NEEDED{$op}};
        $added = 1 if $op eq 'recipient.add';
        if ($op =~ /\Arecipient\.(remove|replace|refuse)\z/) {
            my ($id, $kind) = ($action->{id}, $1);
            my $is_candidate = defined $candidate && $id == $candidate;
            !($is_candidate && $kind eq 'remove')
                or _broken('unknown_recipient', "$where.id", 'the candidate is denied, not removed', $id);
            $is_candidate || ($recipients ? $recipients->{$id} : $id >= 1)
                or _broken('unknown_recipient', "$where.id", 'no recipient has this id', $id);
            delete $recipients->{$id} if $recipients && $kind ne 'replace';
            _reply_rules($event, $hook, $action->{verdict}, $action->{reply}, "$where.reply") if $kind eq 'refuse' && $action->{reply};
            no warnings 'uninitialized';
            $hook eq 'rcpt' || $kind ne 'remove' || !$recipients || %$recipients || $added
                || grep({ $_->{op} eq 'recipient.add' } @$actions)
                or _broken('no_recipients', 'actions', 'no recipient would be left');
        }
        if ($op eq 'message.replace') {
            $action->{path} =~ /\A[^\/\0]{1,255}\z/ && $action->{path} !~ /\A\.\.?\z/
                or _broken('path_invalid', "$where.path", 'not the bare name of a file', $action->{path});
            $headers = {};
        }
        if ($op eq 'session.client_name' && defined $action->{value}) {
            to_octets($action->{value}) =~ /\A[\x21-\x7e]{1,255}\z/
                or _broken('value_invalid', "$where.value", 'not a host name', $action->{value});
        }
        if ($op eq 'auth.challenge') {
            $word eq 'done' && !$challenges++ && ($event->{args}{step} || $LIMIT{login_steps}) < $LIMIT{login_steps}
                or _broken('challenge_not_allowed', $where, 'once, with done, and for a login that has a next step');
            length to_octets($action->{challenge}) <= $LIMIT{challenge_octets}
                && length to_octets($action->{state}) <= $LIMIT{state_octets}
                or _broken('challenge_too_large', $where, 'over 8192 octets, or a state over 4096');
        }
    }
    $challenges || $word ne 'done' || $hook ne 'auth'
        or _broken('challenge_missing', 'actions', 'done at auth needs auth.challenge');
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Check - the rules of protocol/verdicts.md

=head1 DESCRIPTION

C<check($event, $verdict)> takes the two messages as hashes. It gives an empty list if the verdict may be sent, else the id of the
rule that is broken and a text that says where and why. What only the frontend knows is not checked: C<file_refused>,
C<too_many_recipients>, and ids of lists that the event does not have.

=cut
