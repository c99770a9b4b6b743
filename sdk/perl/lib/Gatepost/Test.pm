package Gatepost::Test;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT = qw(test_session);
sub test_session { return Gatepost::Test::Session->new(@_) }

package Gatepost::Test::Session;
use strict;
use warnings;
use File::Temp ();
use Gatepost::Check 'merge';
use Gatepost::Constants;
use Gatepost::Wire qw(encode_line parse_line to_octets from_octets true false);

sub new {
    my ($class, $worker, %option) = @_;
    ref $worker && $worker->can('connection') or die "test_session wants a Gatepost::Worker\n";
    my $self = bless {
        worker => $worker, ip => $option{ip} || '203.0.113.9', name => $option{name}, events => 0, notes => {}, headers => [],
        recipients => [], next_id => 1, transactions => 0, folder => File::Temp->newdir, relay => $option{relay} ? 1 : 0,
        deadline_ms => $option{deadline_ms} || 20_000, trace => [], said => '',
    }, $class;
    mkdir "$self->{folder}/out";
    mkdir "$self->{folder}/out/$worker->{pool}";
    $self->{connection} = $worker->connection;
    $self->{connection}->take;
    $self->{connection}->receive(encode_line({
        type => 'welcome', protocol => 1, frontend => {id => 'test', version => '0.1.0', hostname => 'mx.example.org'},
        connection => 'w1', max_frame => 16_777_216, concurrency => 1, spool => "$self->{folder}",
        limits => {notes_octets => 65_536, actions => 256, reply_lines => 20},
    }));
    return $self;
}

sub verdict { $_[0]{verdict} }
sub relay   { $_[0]{relay} }
sub client_name { $_[0]{name} }
sub session_notes     { $_[0]{notes}{session}     || {} }
sub transaction_notes { $_[0]{notes}{transaction} || {} }
sub notes      { $_[0]->session_notes }
sub sender     { my $sender = $_[0]{sender}; return $sender ? to_octets($sender->{address}) : undef }
sub recipients { map { to_octets($_->{address}) } @{$_[0]{recipients}} }
sub headers    { map { [to_octets($_->{name}), to_octets($_->{value})] } @{$_[0]{headers}} }

sub header {
    my ($self, $name) = @_;
    for my $field ($self->headers) {
        next if lc $field->[0] ne lc $name;
        (my $value = $field->[1]) =~ s/\A\s+|\s+\z//g;
        return $value;
    }
    return undef;
}

sub _address {
    my ($address, @params) = @_;
    my ($local, $domain) = $address =~ /\A(.*)\@([^\@]*)\z/s ? ($1, $2) : ($address, undef);
    $local =~ s/\A"(.*)"\z/$1/s and $local =~ s/\\(.)/$1/gs;
    return {
        address => from_octets($address), local => from_octets($local),
        domain => defined $domain ? from_octets($domain) : undef, params => [map { [$_->[0], $_->[1]] } @params],
    };
}

sub _raw {
    my ($self, $hook, $args) = @_;
    my %needs = map { $_ => 1 } map { @{$_->{needs} || []} } @{$self->{worker}{handlers}{$hook} || []};
    my $raw = {
        hook => $hook, args => $args, notes => {session => $self->{notes}{session} || {}},
        session => {
            id => 'TESTSESSION', listener => 'test', started_ms => int(time * 1000), proxy => undef, tls => $self->{tls},
            client => {ip => $self->{ip}, port => 51_512, name => defined $self->{name} ? from_octets($self->{name}) : undef},
            server => {ip => '198.51.100.25', port => 25}, hello => $self->{hello}, auth => $self->{auth},
            relay => $self->{relay} ? true() : false(), early_talker => false(),
            counters => {commands => int $self->{events}, errors => 0, unrecognized => 0, transactions => int $self->{transactions}, rcpt_ok => int @{$self->{recipients}}, rcpt_denied => 0},
        },
    };
    if ($self->{transaction}) {
        my $transaction = $raw->{transaction} = {
            id => "TESTSESSION.$self->{transactions}", sender => $self->{sender}, recipient_count => int @{$self->{recipients}},
        };
        $transaction->{recipients} = $self->{recipients} if $needs{recipients};
        $transaction->{headers} = $self->{headers} if $needs{headers} && $self->{message};
        $transaction->{message} = $self->{message} if $needs{message} && $self->{message};
        $raw->{notes}{transaction} = $self->{notes}{transaction} || {};
    }
    $raw->{trace} = [] if $needs{trace};
    return $raw;
}

sub _tell {
    my ($self, $hook, $args) = @_;
    my $raw = $self->_raw($hook, $args);
    $self->{worker}->serve_event($self->{connection}, $_)
        for $self->{connection}->receive(encode_line({%$raw, type => 'notify'}));
    return;
}

sub _ask {
    my ($self, $hook, $args) = @_;
    my $id = ++$self->{events};
    my $raw = $self->_raw($hook, $args);
    if (!$self->{worker}{handlers}{$hook} || $self->{worker}{handlers}{$hook}[0]{observe}) {
        $self->_tell($hook, $args) if $self->{worker}{handlers}{$hook};
        return $self->{verdict} = Gatepost::Verdict->new('declined');
    }
    my $line = encode_line({%$raw, type => 'event', id => int $id, key => "TESTSESSION.$id", attempt => 1, deadline_ms => int $self->{deadline_ms}});
    my $connection = $self->{connection};
    my @errors;
    local $self->{worker}{log} = sub { push @errors, $_[1] };
    my @events = $connection->receive($line);
    local $_->{send} = sub { } for @events;
    $self->{worker}->serve_event($connection, $_) for @events;
    my ($answer) = grep { $_->{type} =~ /\A(?:verdict|error)\z/ } map { parse_line($_) } split /(?<=\n)/, $connection->take;
    die "$hook: no answer: " . ($connection->close_reason || '') . "\n" if !$answer;
    die "$answer->{code}: " . ($answer->{message} || '') . "\n" if $answer->{type} eq 'error';
    my $verdict = Gatepost::Verdict->new($answer->{verdict},
        {reply => $answer->{reply}, notes => $answer->{notes} || {}, actions => $answer->{actions} || []});
    $verdict->{plugin} = $answer->{plugin};
    for my $scope (keys %{$verdict->notes}) {
        $self->{notes}{$scope} = merge($self->{notes}{$scope} || {}, $verdict->notes->{$scope});
    }
    $self->_apply($hook, $_, $raw) for @{$verdict->actions};
    return $self->{verdict} = $verdict;
}

sub _apply {
    my ($self, $hook, $action, $raw) = @_;
    my ($op, $id) = @$action{qw(op id)};
    my $value = $action->{value};
    if ($op =~ /\Aheader\.(?:add|set)\z/ && to_octets($value) !~ /\A[ \t]/) { $value = from_octets(' ' . to_octets($value)) }
    if ($op eq 'header.add') {
        my $field = {id => int $self->{next_id}++, name => $action->{name}, value => $value};
        if (($action->{at} || 'top') eq 'top') { unshift @{$self->{headers}}, $field }
        else                                   { push @{$self->{headers}}, $field }
    }
    elsif ($op eq 'header.set') { for my $field (grep { $_->{id} == $id } @{$self->{headers}}) { $field->{value} = $value; delete $field->{space} } }
    elsif ($op eq 'header.delete') { @{$self->{headers}} = grep { $_->{id} != $id } @{$self->{headers}} }
    elsif ($op eq 'header.delete_all') {
        my $name = lc to_octets($action->{name});
        @{$self->{headers}} = grep { lc to_octets($_->{name}) ne $name } @{$self->{headers}};
    }
    elsif ($op eq 'recipient.add') {
        my $address = to_octets($action->{address});
        push @{$self->{recipients}}, {%{_address($address)}, id => int $self->{next_id}++} if !grep { $_ eq $address } $self->recipients;
    }
    elsif ($op eq 'recipient.remove' || $op eq 'recipient.refuse') { @{$self->{recipients}} = grep { $_->{id} != $id } @{$self->{recipients}} }
    elsif ($op eq 'recipient.replace') {
        my ($recipient) = grep { $_->{id} == $id } @{$self->{recipients}}, $self->{candidate} || ();
        %$recipient = (%$recipient, %{_address(to_octets($action->{address}))}) if $recipient;
    }
    elsif ($op eq 'sender.replace') { $self->{sender} = {%{_address(to_octets($action->{address}))}, params => $self->{sender}{params}} }
    elsif ($op eq 'session.relay') { $self->{relay} = $value ? 1 : 0 }
    elsif ($op eq 'session.client_name') { $self->{name} = to_octets($value) }
    elsif ($op eq 'message.replace') {
        my $path = "$self->{folder}/out/$self->{worker}{pool}/$action->{path}";
        open my $file, '<:raw', $path or die "file_refused: $path: $!\n";
        $self->_load(do { local $/; <$file> });
    }
    return;
}

sub _refused { return $_[0]->word =~ /\Adeny/ }

sub connect { my ($self, %option) = @_; $self->{$_} = $option{$_} for keys %option; return $self->_ask('connect', {}) }

sub _hello {
    my ($self, $hook, $name) = @_;
    $name = 'client.example.net' if !defined $name;
    $self->{hello} = {verb => uc $hook, name => from_octets($name)};
    return $self->_ask($hook, {name => from_octets($name)});
}
sub helo { my ($self, $name) = @_; return $self->_hello('helo', $name) }
sub ehlo { my ($self, $name) = @_; return $self->_hello('ehlo', $name) }

sub auth {
    my ($self, $user, $password, $mechanism) = @_;
    my $verdict = $self->_ask('auth', {mechanism => $mechanism || 'PLAIN', user => from_octets($user), password => from_octets($password)});
    if ($verdict->word eq 'ok') {
        $self->{auth}  = {mechanism => $mechanism || 'PLAIN', user => from_octets($user)};
        $self->{relay} = 1;
    }
    return $verdict;
}

sub mail {
    my ($self, $address, @params) = @_;
    $self->_end('hello') if $self->{transaction};
    @$self{qw(transaction sender recipients headers message)} = (1, undef, [], [], undef);
    $self->{transactions}++;
    $self->{notes}{transaction} = {};
    my $sender = _address($address, @params);
    my $verdict = do { local $self->{pending} = $sender; $self->_ask('mail', {sender => $sender}) };
    if (_refused($verdict)) { $self->{transaction} = 0 }
    else { $self->{sender} = $self->{sender} && exists $self->{sender}{address} ? {%{$self->{sender}}, params => $sender->{params}} : $sender }
    return $verdict;
}

sub rcpt {
    my ($self, $address, @params) = @_;
    $self->mail('bob@example.net') if !$self->{transaction};
    local $self->{candidate} = {%{_address($address, @params)}, id => int $self->{next_id}++};
    my $verdict = $self->_ask('rcpt', {recipient => {%{$self->{candidate}}}});
    push @{$self->{recipients}}, $self->{candidate} if !_refused($verdict);
    return $verdict;
}

sub data { my ($self) = @_; return $self->_ask('data', {}) }

sub _load {
    my ($self, $octets) = @_;
    my ($at, @fields) = (0);
    while ($octets =~ /\G([\x21-\x39\x3b-\x7e]+)([ \t]*):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n/gc) {
        push @fields, {id => int $self->{next_id}++, name => from_octets($1), value => from_octets($3), length $2 ? (space => $2) : ()};
        $at = pos $octets;
    }
    my $body = substr $octets, $at;
    $octets = substr($octets, 0, $at) . "\r\n$body" if $body !~ /\A\r\n/;
    my $path = "$self->{folder}/message-" . $self->{next_id}++;
    open my $file, '>:raw', $path or die "$path: $!\n";
    print $file $octets;
    close $file or die "$path: $!\n";
    $self->{headers} = \@fields;
    $self->{message} = {path => $path, size => length $octets, body_offset => int $at};
    return;
}

sub message {
    my ($self, $octets) = @_;
    $octets = '' if !defined $octets;
    $octets =~ s/\r?\n/\r\n/g;
    $self->rcpt('jo@example.org') if !$self->{transaction};
    $self->_load($octets);
    my $verdict;
    for my $hook (qw(data_headers_end received_line data_post_headers data_post queue_pre)) {
        $verdict = $self->_ask($hook, $hook eq 'received_line' ? {value => ' from test'} : {queue_id => 'TESTSESSION.1'});
        last if _refused($verdict) || $verdict->word eq 'done';
    }
    return $verdict;
}

sub queue {
    my ($self) = @_;
    my $verdict = $self->_ask('queue', {queue_id => 'TESTSESSION.1'});
    $self->_tell('queue_post', {queue_id => 'TESTSESSION.1', reply => {code => 250, status => '2.0.0', text => ['Queued']}}) if $verdict->word eq 'ok';
    $self->_end('done');
    return $verdict;
}

sub _end {
    my ($self, $reason) = @_;
    return if !$self->{transaction};
    $self->_tell('reset_transaction', {reason => $reason});
    $self->{transaction} = 0;
    delete $self->{notes}{transaction};
    return;
}
sub rset { my ($self) = @_; return $self->_end('rset') }
sub vrfy { my ($self, $argument) = @_; return $self->_ask('vrfy', {argument => from_octets($argument)}) }
sub help { my ($self, $argument) = @_; return $self->_ask('help', {argument => from_octets(defined $argument ? $argument : '')}) }
sub noop { my ($self, $argument) = @_; return $self->_ask('noop', {argument => from_octets(defined $argument ? $argument : '')}) }
sub quit { my ($self) = @_; return $self->_ask('quit', {}) }

sub unrecognized_command {
    my ($self, $line) = @_;
    my ($command) = split / /, $line;
    return $self->_ask('unrecognized_command', {command => from_octets($command), line => from_octets($line)});
}

sub disconnect {
    my ($self) = @_;
    $self->_end('disconnect');
    $self->_tell('disconnect', {reason => 'quit', duration_ms => 1});
    return;
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Test - a session with a worker, without a server

=head1 SYNOPSIS

    use Gatepost::Test;
    my $session = test_session($worker, ip => '192.0.2.1');
    is($session->rcpt('eve@example.com')->code, 550);

=head1 DESCRIPTION

The session has a method for each step: C<connect>, C<helo>, C<ehlo>, C<auth($user, $password)>, C<mail>, C<rcpt>, C<data>,
C<message($octets)> (all hooks of a complete message up to C<queue_pre>), C<queue>, C<rset>, C<vrfy>, C<help>, C<noop>, C<quit>,
C<unrecognized_command>, C<disconnect>. Each gives the verdict. C<session_notes>, C<transaction_notes>, C<recipients>, C<headers>,
C<header>, C<sender>, C<relay>, C<client_name> and C<verdict> are as they stand after the frontend applied the actions. A recipient
is granted unless it was refused. An invalid verdict, and a handler that fails, dies with a text that names handler and rule.

=cut
