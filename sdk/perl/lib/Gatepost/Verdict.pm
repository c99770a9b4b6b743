package Gatepost::Verdict;
use strict;
use warnings;
use overload '""' => sub { $_[0]{word} }, 'bool' => sub {1}, fallback => 1;
use Exporter 'import';
our @EXPORT_OK = ('ok');    # Test::More has a function of this name
our @EXPORT = qw(declined deny denysoft deny_disconnect denysoft_disconnect done
    DECLINED OK DENY DENYSOFT DENY_DISCONNECT DENYSOFT_DISCONNECT DONE);

use constant {
    DECLINED => 'declined', OK => 'ok', DENY => 'deny', DENYSOFT => 'denysoft', DENY_DISCONNECT => 'deny_disconnect',
    DENYSOFT_DISCONNECT => 'denysoft_disconnect', DONE => 'done',
};
my %WORDS = map { $_ => 1 } qw(declined ok deny denysoft deny_disconnect denysoft_disconnect done);

sub new {
    my ($class, $word, @text) = @_;
    die "there is no verdict '$word'\n" if ref $word || !$WORDS{$word};
    my %option = @text && ref $text[-1] eq 'HASH' ? %{pop @text} : ();
    my $self   = bless {word => $word}, $class;
    $self->{text} = [map {"$_"} @text] if @text;
    for my $name (keys %option) {
        my $value = $option{$name};
        if    ($name eq 'code')   { $self->{code} = !ref $value && $value =~ /\A[0-9]+\z/ ? int $value : $value }
        elsif ($name eq 'status') { $self->{status} = $value }
        elsif ($name =~ /\A(?:notes|actions|reply)\z/) { $self->{$name} = $value }
        else { die "there is no option '$name'; there are code, status, notes and actions\n" }
    }
    return $self;
}

sub from_answer {
    my ($class, @answer) = @_;
    return $class->new('declined') if !@answer || @answer == 1 && !defined $answer[0];
    return $answer[0] if @answer == 1 && ref $answer[0] && eval { $answer[0]->isa('Gatepost::Verdict') };
    return $class->new(@answer) if defined $answer[0] && !ref $answer[0] && $WORDS{$answer[0]};
    my $shown = ref $answer[0] || "'" . (defined $answer[0] ? $answer[0] : 'undef') . "'";
    die "a handler returns a verdict or nothing, not $shown: end it with 'return declined;'\n";
}

sub word   { $_[0]{word} }
sub code   { my $reply = $_[0]->reply || {}; return $reply->{code} }
sub status { my $reply = $_[0]->reply || {}; return $reply->{status} }
sub text   { my $reply = $_[0]->reply || {}; return @{$reply->{text} || []} }
sub plugin { $_[0]{plugin} }
sub actions { $_[0]{actions} || [] }
sub notes   { $_[0]{notes}   || {} }

sub reply {
    my ($self) = @_;
    return $self->{reply} if exists $self->{reply};
    my %reply = map { $_ => $self->{$_} } grep { defined $self->{$_} } qw(code status text);
    return %reply ? \%reply : undef;
}

sub declined            { __PACKAGE__->new('declined',            @_) }
sub ok                  { __PACKAGE__->new('ok',                  @_) }
sub deny                { __PACKAGE__->new('deny',                @_) }
sub denysoft            { __PACKAGE__->new('denysoft',            @_) }
sub deny_disconnect     { __PACKAGE__->new('deny_disconnect',     @_) }
sub denysoft_disconnect { __PACKAGE__->new('denysoft_disconnect', @_) }

sub done {
    my ($code, @text) = @_;
    my %option = @text && ref $text[-1] eq 'HASH' ? %{pop @text} : ();
    return __PACKAGE__->new('done', @text, {%option, code => $code});
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Verdict - what a handler answers

=head1 SYNOPSIS

    return deny('No such user', {code => 550, status => '5.1.1'});
    return denysoft('Come back later');
    return done(250, 'Noted', {status => '2.0.0'});
    return (DENY, 'No such user');

=head1 DESCRIPTION

C<declined>, C<ok>, C<deny>, C<denysoft>, C<deny_disconnect>, C<denysoft_disconnect> take lines of text, and last, if wanted, a hash
with C<code>, C<status>, C<notes> (a merge patch for C<session> and C<transaction>) and C<actions>. C<done> takes the code first.
The constants of qpsmtpd, C<DECLINED>, C<DENY> and so on, are the words of the verdicts; a list of one of them and text is a
verdict as well. C<ok> is exported only if it is asked for, because Test::More has a function of this name: C<OK> does the same.

A verdict has the methods C<word>, C<code>, C<status>, C<text> (a list), C<reply>, C<notes>, C<actions> and C<plugin>.

=cut
