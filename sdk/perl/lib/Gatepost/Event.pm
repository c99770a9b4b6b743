package Gatepost::Address;
use strict;
use warnings;
use Gatepost::Wire 'to_octets';
use overload '""' => sub { $_[0]->address }, 'bool' => sub {1}, fallback => 1;
sub new     { my ($class, $raw) = @_; return bless {raw => $raw}, $class }
sub id      { $_[0]{raw}{id} }
sub address { to_octets($_[0]{raw}{address}) }
sub local   { to_octets($_[0]{raw}{local}) }
sub domain  { to_octets($_[0]{raw}{domain}) }
sub user    { $_[0]->local }
sub host    { $_[0]->domain }
sub params  { map { [$_->[0], to_octets($_->[1])] } @{$_[0]{raw}{params}} }

package Gatepost::Field;
use strict;
use warnings;
use Gatepost::Wire 'to_octets';
sub new   { my ($class, $raw) = @_; return bless {raw => $raw}, $class }
sub id    { $_[0]{raw}{id} }
sub name  { to_octets($_[0]{raw}{name}) }
sub value { to_octets($_[0]{raw}{value}) }
sub space { my $space = $_[0]{raw}{space}; return defined $space ? to_octets($space) : '' }

package Gatepost::Event;
use strict;
use warnings;
use Gatepost::Check 'merge';
use Gatepost::Header 'legal';
use Gatepost::Wire qw(to_octets from_octets octets is_bool true false);
use Time::HiRes ();

my $count = 0;

sub new {
    my ($class, $raw) = @_;
    die "an event without args\n" if ref $raw->{args} ne 'HASH';
    return bless {
        raw => $raw, began => Time::HiRes::time(), actions => [], trace => [], notes => {}, out_folder => '',
    }, $class;
}

# What is asked

sub raw     { $_[0]{raw} }
sub id      { $_[0]{raw}{id} }
sub hook    { $_[0]{raw}{hook} }
sub key     { my $key = $_[0]{raw}{key}; return defined $key ? $key : '' }
sub attempt { $_[0]{raw}{attempt} || 1 }
sub args    { $_[0]{raw}{args} }
sub session { $_[0]{raw}{session} || die "there is no session at status\n" }
sub transaction   { $_[0]{raw}{transaction} }
sub client_ip     { $_[0]->session->{client}{ip} }
sub client_name   { to_octets($_[0]->session->{client}{name}) }
sub hello_name    { my $hello = $_[0]->session->{hello}; return $hello ? to_octets($hello->{name}) : undef }
sub hello_verb    { my $hello = $_[0]->session->{hello}; return $hello ? $hello->{verb} : undef }
sub user          { my $auth = $_[0]->session->{auth}; return $auth ? to_octets($auth->{user}) : undef }
sub relay         { $_[0]->session->{relay} ? 1 : 0 }
sub tls           { $_[0]->session->{tls} }
sub elided        { @{$_[0]{raw}{elided} || []} }
sub out_folder    { $_[0]{out_folder} }

sub asked {
    my ($self) = @_;
    return $self->hook eq 'deny' || $self->hook eq 'ok' ? $self->args->{args} || {} : $self->args;
}

sub argument {
    my ($self, $name) = @_;
    my $asked = $self->asked;
    die "there is no argument '$name' at " . $self->hook . "\n" if !exists $asked->{$name};
    return to_octets($asked->{$name});
}

sub _mail { $_[0]{raw}{transaction} || die "there is no transaction at " . $_[0]->hook . "\n" }

sub _part {
    my ($self, $part) = @_;
    my $mail = $self->_mail;
    return $mail->{$part} if defined $mail->{$part};
    die "$part: left out, for the event was too large (elided)\n" if grep { $_ eq $part } $self->elided;
    die "$part: not in the event; the hook needs => ['$part']\n";
}

sub sender {
    my ($self) = @_;
    my $raw = $self->asked->{sender} || $self->_mail->{sender} || die "there is no sender yet\n";
    return Gatepost::Address->new($raw);
}
sub recipient  { Gatepost::Address->new($_[0]->asked->{recipient} || die "there is no recipient at " . $_[0]->hook . "\n") }
sub recipients { map { Gatepost::Address->new($_) } @{$_[0]->_part('recipients')} }
sub headers    { map { Gatepost::Field->new($_) } @{$_[0]->_part('headers')} }

sub header {
    my ($self, $name) = @_;
    for my $field ($self->headers) {
        next if lc $field->name ne lc $name;
        (my $value = $field->value) =~ s/\A\s+|\s+\z//g;
        return $value;
    }
    return undef;
}

sub message_path { $_[0]->_part('message')->{path} }

sub _header_octets {
    my ($self) = @_;
    return join '', map { $_->name . $_->space . ':' . $_->value . "\r\n" } $self->headers;
}

sub open_message {
    my ($self) = @_;
    my ($header, $message) = ($self->_header_octets, $self->_part('message'));
    open my $file, '<:raw', $message->{path} or die "$message->{path}: $!\n";
    seek $file, $message->{body_offset}, 0 or die "$message->{path}: $!\n";
    return Gatepost::MessageStream->handle($header, $file);
}

sub open_body {
    my ($self) = @_;
    my $message = $self->_part('message');
    open my $file, '<:raw', $message->{path} or die "$message->{path}: $!\n";
    seek $file, $message->{body_offset}, 0 or die "$message->{path}: $!\n";
    return $file;
}

# Time

sub remaining {
    my ($self) = @_;
    return 9**9**9 if !defined $self->{raw}{deadline_ms};
    return ($self->{raw}{deadline_ms} + ($self->{extended} || 0)) / 1000 - (Time::HiRes::time() - $self->{began});
}

sub plugin_seconds {
    my ($self) = @_;
    my $allowed = $self->{raw}{deadline_ms} + ($self->{extended} || 0);
    my $spare   = $allowed / 20 > 250 ? 250 : $allowed / 20;
    return ($allowed - $spare) / 1000 - (Time::HiRes::time() - $self->{began});
}

sub cancelled {
    my ($self) = @_;
    $self->{pump}->(0) if $self->{pump} && !$self->{cancelled};
    return $self->{cancelled} ? 1 : 0;
}

sub wait_cancelled {
    my ($self, $seconds) = @_;
    my $end = Time::HiRes::time() + $seconds;
    while (!$self->{cancelled} && (my $left = $end - Time::HiRes::time()) > 0) {
        if ($self->{pump}) { $self->{pump}->($left) }
        else               { Time::HiRes::sleep($left) }
    }
    return $self->{cancelled} ? 1 : 0;
}
sub cancel_reason { $_[0]{cancel_reason} }

sub progress {
    my ($self, $ms) = @_;
    die "progress wants 1 millisecond or more\n" if $ms < 1;
    return if !defined $self->id;
    $self->{extended} += int $ms;
    $self->{send}->({type => 'progress', id => $self->id, extend_ms => int $ms}) if $self->{send};
    return;
}

sub cancel { my ($self, $reason) = @_; @$self{qw(cancelled cancel_reason)} = (1, $reason); return }

# Notes

sub _copy {
    my ($value) = @_;
    return ref $value eq 'HASH' ? {map { $_ => _copy($value->{$_}) } keys %$value}
        : ref $value eq 'ARRAY' ? [map { _copy($_) } @$value] : $value;
}

sub _scope {
    my ($self, $scope) = @_;
    $self->_mail if $scope eq 'transaction';
    return $self->{notes}{$scope} ||= _copy($self->{raw}{notes}{$scope} || {});
}
sub session_notes     { $_[0]->_scope('session') }
sub transaction_notes { $_[0]->_scope('transaction') }

# The merge patch (RFC 7396) that makes one object out of another.
sub _patch {
    my ($before, $after) = @_;
    $before = {} if ref $before ne 'HASH';
    my %patch = map { $_ => undef } grep { !exists $after->{$_} } keys %$before;
    for my $key (keys %$after) {
        my $value = $after->{$key};
        if (!defined $value) { $patch{$key} = undef if defined $before->{$key}; next }
        next if exists $before->{$key} && _same($before->{$key}, $value);
        $patch{$key} = ref $value eq 'HASH' ? _patch($before->{$key}, $value) : $value;
    }
    return \%patch;
}

sub _sorted {
    my ($value) = @_;
    return ref $value eq 'HASH' ? '{' . join(',', map { Gatepost::Wire::encode($_) . _sorted($value->{$_}) } sort keys %$value) . '}'
        : ref $value eq 'ARRAY' ? '[' . join(',', map { _sorted($_) } @$value) . ']' : Gatepost::Wire::encode($value);
}
sub _same { return _sorted($_[0]) eq _sorted($_[1]) }

sub notes_patch {
    my ($self, $answered) = @_;
    my %patches;
    for my $scope (keys %{$self->{notes}}) {
        my $patch = _patch($self->{raw}{notes}{$scope}, $self->{notes}{$scope});
        $patches{$scope} = $patch if %$patch;
    }
    return $answered if ref $answered ne 'HASH';
    for my $scope (keys %$answered) {
        $patches{$scope} = $patches{$scope} && ref $answered->{$scope} eq 'HASH'
            ? {%{$patches{$scope}}, %{$answered->{$scope}}} : $answered->{$scope};
    }
    return \%patches;
}

sub take_notes {
    my ($self, $notes) = @_;
    for my $scope (keys %$notes) {
        $self->{notes}{$scope} = merge($self->_scope($scope), $notes->{$scope});
    }
    return;
}

# Changes

sub actions { $_[0]{actions} }
sub _act { my ($self, $action) = @_; push @{$self->{actions}}, $action; return }

sub _is_smtputf8 {
    my ($self) = @_;
    my $sender = ($self->transaction || {})->{sender} || $self->args->{sender} || {};
    return scalar grep { $_->[0] eq 'SMTPUTF8' } @{$sender->{params} || []};
}

sub _field {
    my ($self, $id) = @_;
    my ($field) = grep { $_->{id} == $id } @{($self->transaction || {})->{headers} || []};
    return $field;
}

sub add_header {
    my ($self, $name, $value, $at) = @_;
    my $known = grep { to_octets($_->{value}) eq $value } @{($self->transaction || {})->{headers} || []};
    $value = legal(octets($value), length octets($name), $self->_is_smtputf8) if !$known || $value =~ /[\0]/;
    return $self->_act({op => 'header.add', name => from_octets($name), value => from_octets($value), at => $at || 'top'});
}

sub set_header {
    my ($self, $id, $value) = @_;
    my $field = $self->_field($id);
    $value = legal(octets($value), $field ? length to_octets($field->{name}) : 0, $self->_is_smtputf8);
    return $self->_edit({op => 'header.set', id => int $id, value => from_octets($value)});
}
sub delete_header { my ($self, $id) = @_; return $self->_edit({op => 'header.delete', id => int $id}) }
sub delete_headers { my ($self, $name) = @_; return $self->_act({op => 'header.delete_all', name => from_octets($name)}) }

sub _edit {
    my ($self, $action) = @_;
    my $first = $self->{actions}[0];
    push @{$self->{actions}}, $first && $first->{op} eq 'message.replace' ? $self->_by_name($action) : $action;
    return;
}

# The same for the file of message.replace, where the field has an id that the worker does not know.
sub _by_name {
    my ($self, $action) = @_;
    return $action if $action->{op} !~ /\Aheader\.(?:set|delete)\z/;
    my $field = $self->_field($action->{id}) or return $action;
    my @actions = ({op => 'header.delete_all', name => $field->{name}});
    push @actions, {op => 'header.add', name => $field->{name}, value => $action->{value}, at => 'top'}
        if $action->{op} eq 'header.set';
    return @actions;
}

sub add_recipient     { my ($self, $address) = @_; return $self->_act({op => 'recipient.add', address => from_octets($address)}) }
sub remove_recipient  { my ($self, $id) = @_; return $self->_act({op => 'recipient.remove', id => int $id}) }
sub replace_recipient { my ($self, $id, $to) = @_; return $self->_act({op => 'recipient.replace', id => int $id, address => from_octets($to)}) }
sub replace_sender    { my ($self, $address) = @_; return $self->_act({op => 'sender.replace', address => from_octets($address)}) }
sub set_relay         { my ($self, $on) = @_; return $self->_act({op => 'session.relay', value => @_ < 2 || $on ? true() : false()}) }
sub set_client_name   { my ($self, $name) = @_; return $self->_act({op => 'session.client_name', value => defined $name ? from_octets($name) : undef}) }
sub delay_reply       { my ($self, $ms) = @_; return $self->_act({op => 'reply.delay', ms => int $ms}) }

sub refuse_recipient {
    my ($self, $id, $verdict) = @_;
    die "a recipient is refused with deny or denysoft\n" if !ref $verdict || $verdict->word !~ /\Adeny(?:soft)?\z/;
    my $reply = $verdict->reply;
    return $self->_act({op => 'recipient.refuse', id => int $id, verdict => $verdict->word, $reply ? (reply => $reply) : ()});
}

sub challenge {
    my ($self, $challenge, $state) = @_;
    $self->_act({op => 'auth.challenge', challenge => from_octets($challenge), state => from_octets(defined $state ? $state : '')});
    require Gatepost::Verdict;
    return Gatepost::Verdict->new('done');
}

sub new_message_path { $count++; return "$_[0]{out_folder}/$$-" . int(Time::HiRes::time() * 1e6) . "-$count" }

sub replace_message {
    my ($self, $path) = @_;
    $path =~ s{.*/}{};
    my @others = grep { $_->{op} ne 'message.replace' } @{$self->{actions}};
    $self->{actions} = [{op => 'message.replace', path => $path}, map { $self->_by_name($_) } @others];
    return;
}

sub take_actions {
    my ($self, $actions) = @_;
    for my $action (@$actions) {
        my $op = ref $action eq 'HASH' && defined $action->{op} ? $action->{op} : '';
        if    ($op =~ /\Aheader\.(?:set|delete)\z/) { $self->_edit($action) }
        else                                        { push @{$self->{actions}}, $action }
    }
    return;
}

package Gatepost::MessageStream;
use strict;
use warnings;
use Symbol ();

# A handle that gives octets of the header, then those of the file.
sub handle {
    my ($class, $header, $file) = @_;
    my $handle = Symbol::gensym();
    tie *$handle, $class, $header, $file;
    return $handle;
}
sub TIEHANDLE { my ($class, $header, $file) = @_; return bless {rest => $header, file => $file}, $class }

sub READ {
    my ($self, undef, $length, $offset) = @_;
    $offset ||= 0;
    $self->_more if length $self->{rest} < $length;
    my $piece = substr $self->{rest}, 0, $length, '';
    $_[1] = '' if !defined $_[1];
    substr($_[1], $offset) = $piece if $offset <= length $_[1];
    return length $piece;
}
sub _more { my ($self) = @_; return read $self->{file}, $self->{rest}, 65_536, length $self->{rest} }

sub READLINE {
    my ($self) = @_;
    if (wantarray) { my @lines; while (defined(my $line = $self->_line)) { push @lines, $line } return @lines }
    return $self->_line;
}

sub _line {
    my ($self) = @_;
    my $end = $/;
    if (!defined $end) { 1 while $self->_more; return length $self->{rest} ? substr($self->{rest}, 0, length $self->{rest}, '') : undef }
    while (1) {
        my $at = index $self->{rest}, $end;
        return substr $self->{rest}, 0, $at + length $end, '' if $at >= 0;
        next if $self->_more;
        return length $self->{rest} ? substr($self->{rest}, 0, length $self->{rest}, '') : undef;
    }
}
sub EOF { my ($self) = @_; return !length $self->{rest} && !$self->_more }
sub CLOSE { my ($self) = @_; $self->{rest} = ''; return close $self->{file} }
sub BINMODE {1}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Event - what a handler is asked (protocol/events.md)

=head1 DESCRIPTION

Fields of SMTP are octets. The methods are in the tables of README.md: C<hook>, C<key>, C<session>, C<transaction>, C<args>,
C<sender>, C<recipient>, C<recipients>, C<headers>, C<header>, C<argument>, C<session_notes>, C<transaction_notes>, C<open_message>,
C<open_body>, C<message_path>, C<remaining>, C<progress>, C<cancelled>, and the changes C<add_header>, C<replace_recipient> and so on.

A part that the event does not have (C<needs>), or that was left out because the event was too large, is an error, never an empty
list.

=cut
