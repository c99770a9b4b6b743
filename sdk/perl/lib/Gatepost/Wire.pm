package Gatepost::Wire;
use strict;
use warnings;
use B ();
use JSON::PP::Boolean ();
use MIME::Base64 ();
use Exporter 'import';
our @EXPORT_OK = qw(parse_line encode encode_line to_octets from_octets is_integer is_bool valid_utf8 octets true false is_number);

use constant LARGEST => 9007199254740991;
use constant DEEPEST => 32;
my $TRUE  = do { my $one = 1; bless \$one, 'JSON::PP::Boolean' };
my $FALSE = do { my $nought = 0; bless \$nought, 'JSON::PP::Boolean' };
my %ESCAPED = ('"' => '"', '\\' => '\\', '/' => '/', b => "\b", f => "\f", n => "\n", r => "\r", t => "\t");

my %SHORT = ("\b" => '\b', "\f" => '\f', "\n" => '\n', "\r" => '\r', "\t" => '\t');

sub true  { $TRUE }
sub false { $FALSE }

sub _bad { die Gatepost::ProtocolError->new('bad_frame', $_[0]) }

sub valid_utf8 {
    my ($text) = @_;
    return 1 if $text !~ /[^\x00-\x7f]/;
    return 0 if !utf8::decode($text);
    no warnings 'utf8';
    return $text !~ /[\x{D800}-\x{DFFF}]/ && $text !~ /[^\x{0}-\x{10FFFF}]/;
}

# The value under the position of $_, at a depth.
sub _value {
    my ($depth) = @_;
    /\G[ \t\r]+/gc;
    return "$1" if /\G"([^"\\\x00-\x1f]*)"/gc;
    return _string() if /\G"/gc;
    if (/\G\{/gc) {
        _bad('nesting over 32') if $depth > DEEPEST;
        my %object;
        return \%object if /\G[ \t\r]*\}/gc;
        while (1) {
            my $key;
            if (/\G[ \t\r]*"([^"\\\x00-\x1f]*)"[ \t\r]*:/gc) { $key = $1 }
            else {
                /\G[ \t\r]*"/gc or _bad('a key is missing');
                $key = _string();
                _bad('U+0000 in a key') if index($key, "\0") >= 0;
                /\G[ \t\r]*:/gc or _bad('a colon is missing');
            }
            _bad('a key twice in one object') if exists $object{$key};
            $object{$key} = _value($depth + 1);
            next if /\G[ \t\r]*,/gc;
            return \%object if /\G[ \t\r]*\}/gc;
            _bad('an object does not end');
        }
    }
    if (/\G\[/gc) {
        _bad('nesting over 32') if $depth > DEEPEST;
        my @list;
        return \@list if /\G[ \t\r]*\]/gc;
        while (1) {
            push @list, _value($depth + 1);
            next if /\G[ \t\r]*,/gc;
            return \@list if /\G[ \t\r]*\]/gc;
            _bad('a list does not end');
        }
    }
    if (/\G(-?(?:0|[1-9][0-9]*))((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/gc) {
        my ($whole, $rest) = ($1, $2);
        if ($rest eq '') {
            _bad('an integer beyond 2^53-1') if length $whole > 17 || abs $whole > LARGEST;
            return int $whole;
        }
        my $number = unpack 'd', pack 'd', $whole . $rest;
        _bad('a number that is no finite double') if $number != $number || abs $number > 1.7976931348623157e308;
        return unpack 'd', pack 'd', $number;    # the comparison may have made an integer of it
    }
    return $TRUE  if /\Gtrue/gc;
    return $FALSE if /\Gfalse/gc;
    return undef  if /\Gnull/gc;
    _bad('not JSON');
}

sub _string {
    my $text = '';
    while (1) {
        if    (/\G([^"\\\x00-\x1f]+)/gc) { $text .= $1 }
        elsif (/\G"/gc)                  { return $text }
        elsif (/\G\\(["\\\/bfnrt])/gc)   { $text .= $ESCAPED{$1} }
        elsif (/\G\\u([0-9a-fA-F]{4})/gc) {
            my $code = hex $1;
            if ($code >= 0xD800 && $code <= 0xDFFF) {
                $code < 0xDC00 && /\G\\u([dD][c-fC-F][0-9a-fA-F]{2})/gc or _bad('a lone surrogate');
                $code = 0x10000 + (($code - 0xD800) << 10) + (hex($1) - 0xDC00);
            }
            my $character = chr $code;
            utf8::encode($character);
            $text .= $character;
        }
        else { _bad('a string does not end, or has a control octet') }
    }
}

sub parse_line {
    my ($line) = @_;
    $line =~ s/\n\z//;
    _bad('not UTF-8') if !valid_utf8($line);
    for ($line) {
        pos = 0;
        my $value = _value(1);
        /\G[ \t\r]*\z/gc       or _bad('octets after the object');
        ref $value eq 'HASH' or _bad('not an object');
        return $value;
    }
}

sub is_bool { ref $_[0] && (ref $_[0] eq 'JSON::PP::Boolean') }

sub is_integer {
    return 0 if !defined $_[0] || ref $_[0];
    my $flags = B::svref_2object(\$_[0])->FLAGS;
    return ($flags & B::SVf_IOK) && !($flags & (B::SVf_NOK | B::SVf_POK)) ? 1 : 0;
}

sub octets {
    my ($text) = @_;
    utf8::encode($text) if !utf8::downgrade($text, 1);
    return $text;
}

sub _quoted {
    my ($text) = @_;
    utf8::encode($text) if !utf8::downgrade($text, 1);
    if ($text =~ /["\\\x00-\x1f]/) {
        $text =~ s/(["\\])/\\$1/g;
        $text =~ s/([\x00-\x1f])/$SHORT{$1} || sprintf '\\u%04x', ord $1/ge;
    }
    die "text that is not UTF-8\n" if $text =~ /[^\x00-\x7f]/ && !valid_utf8($text);
    return qq("$text");
}

sub encode {
    my ($value, $depth) = @_;
    return 'null' if !defined $value;
    my $kind = ref $value;
    if ($kind eq '') {
        my $flags = B::svref_2object(\$value)->FLAGS;
        if (($flags & (B::SVf_IOK | B::SVf_NOK)) && !($flags & B::SVf_POK)) {
            die "a number that is no finite double\n" if $value != $value || abs $value > 1.7976931348623157e308;
            die "an integer beyond 2^53-1\n" if ($flags & B::SVf_IOK) && !($flags & B::SVf_NOK) && abs $value > LARGEST;
            my $text = ($flags & B::SVf_NOK) ? sprintf('%.17g', $value) : "$value";
            return $text =~ /\A-?[0-9]{17,}\z/ ? "$text.0" : $text;
        }
        return _quoted($value);
    }
    $depth = ($depth || 0) + 1;
    die "nesting over 32\n" if $depth > DEEPEST && ($kind eq 'HASH' || $kind eq 'ARRAY');
    return '{' . join(',', map {
            my $key = _quoted($_);
            die "U+0000 in a key\n" if index($_, "\0") >= 0;
            $key . ':' . encode($value->{$_}, $depth)
        } keys %$value) . '}' if $kind eq 'HASH';
    return '[' . join(',', map { encode($_, $depth) } @$value) . ']' if $kind eq 'ARRAY';
    return $value ? 'true' : 'false' if $kind eq 'JSON::PP::Boolean';
    return $$value ? 'true' : 'false' if $kind eq 'SCALAR';
    die "a value of the kind $kind is not JSON\n";
}

sub encode_line { return encode($_[0]) . "\n" }

sub to_octets {
    my ($value) = @_;
    return undef if !defined $value;
    return $value if !ref $value && !is_number($value);
    if (ref $value eq 'HASH' && keys %$value == 1 && defined $value->{b64} && !ref $value->{b64}) {
        my $octets = MIME::Base64::decode_base64($value->{b64});
        return $octets if MIME::Base64::encode_base64($octets, '') eq $value->{b64};
    }
    die "neither a string nor canonical base64\n";
}

sub is_number {
    my $flags = B::svref_2object(\$_[0])->FLAGS;
    return ($flags & (B::SVf_IOK | B::SVf_NOK)) && !($flags & B::SVf_POK);
}

sub from_octets {
    my $octets = octets("$_[0]");
    return $octets if index($octets, "\0") < 0 && valid_utf8($octets);
    return {b64 => MIME::Base64::encode_base64($octets, '')};
}

package Gatepost::ProtocolError;
use overload '""' => sub { $_[0]{message} }, fallback => 1;
sub new { my ($class, $code, $message) = @_; return bless {code => $code, message => $message}, $class }
sub code { $_[0]{code} }

package Gatepost::Wire;
1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Wire - strict reading and writing of the protocol's lines

=head1 DESCRIPTION

C<parse_line($octets)> gives the message on a line, or dies with a C<Gatepost::ProtocolError> whose C<code> is C<bad_frame>.
Strings are octets (UTF-8), integers are integers, C<1.0> is not one, booleans are C<JSON::PP::Boolean>.

C<encode_line($message)> gives the line with its LF. A string whose characters are all below 256 is taken as octets; any
other is text and is written as UTF-8. It dies if the value is not I-JSON (RFC 7493).

C<to_octets> and C<from_octets> read and write a field of the type I<Bytes> (protocol/README.md §1).

=cut
