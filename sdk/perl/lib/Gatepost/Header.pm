package Gatepost::Header;
use strict;
use warnings;
use Gatepost::Wire ();
use Exporter 'import';
our @EXPORT_OK = qw(legal);

use constant {LONGEST_LINE => 998, PREFERRED_LINE => 78, LONGEST_WORD => 75};

sub legal {
    my ($value, $name_octets, $allows_8bit) = @_;
    if ($value =~ /[\r\n\0]/) {
        my ($first, @lines) = map { tr/\r\n\0//d; $_ } split /\r\n(?=[ \t])/, $value, -1;
        $value = join '', defined $first ? $first : '', map { /[^ \t]/ ? "\r\n$_" : $_ } @lines;
    }
    $value = _encoded($value) if !$allows_8bit && $value =~ /[\x80-\xff]/;
    # A value that begins without white space gets a space in front.
    my $before = $name_octets + 1 + ($value =~ /\A[ \t\r]/ ? 0 : 1);
    if ($before + length $value > LONGEST_LINE) {
        my @lines;
        for my $line (split /\r\n(?=[ \t])/, $value, -1) {
            push @lines, _folded($line, $before);
            $before = 0;
        }
        $value = join "\r\n", @lines;
    }
    return $value;
}

# Each run of words with octets above 127 as encoded words; what stands between two such words goes into them.
sub _encoded {
    my ($value) = @_;
    my ($result, $run, $gap) = ('', '', '');
    for my $piece (split /([ \t\r\n]+)/, $value, -1) {
        if    ($piece =~ /\A[ \t\r\n]+\z/) { $gap = $piece }
        elsif ($piece eq '')               { }
        elsif ($piece =~ /[\x80-\xff]/) {
            if ($run ne '') { (my $inner = $gap) =~ tr/\r\n//d; $run .= $inner . $piece }
            else            { $result .= $gap; $run = $piece }
            $gap = '';
        }
        else {
            $result .= _words($run) . $gap . $piece;
            ($run, $gap) = ('', '');
        }
    }
    return $result . _words($run) . $gap;
}

sub _words {
    my ($text) = @_;
    return '' if $text eq '';
    my ($start, @characters);
    if (Gatepost::Wire::valid_utf8($text)) {
        $start      = '=?UTF-8?Q?';
        @characters = $text =~ /([\x00-\x7f]|[\xc0-\xff][\x80-\xbf]*)/g;
    }
    else {
        $start      = '=?unknown-8bit?Q?';
        @characters = split //, $text;
    }
    my @words = ($start);
    for my $character (@characters) {
        (my $encoded = $character) =~ s/([^0-9A-Za-z])/$1 eq ' ' ? '_' : sprintf '=%02X', ord $1/ge;
        push @words, $start if length($words[-1]) + length($encoded) + 2 > LONGEST_WORD;
        $words[-1] .= $encoded;
    }
    return join "\r\n ", map {"$_?="} @words;
}

sub _folded {
    my ($line, $before) = @_;
    return $line if $before + length $line <= LONGEST_LINE;
    my (@lines, $current);
    $current = '';
    $line =~ s/[ \t]+\z//;
    while ($line =~ /\G([ \t]*)([^ \t]+)/g) {
        my ($space, $rest) = (substr($1, 0, PREFERRED_LINE), $2);
        my $taken = @lines ? 0 : $before;
        if ($current ne '' && $taken + length($current) + length($space) + length($rest) > PREFERRED_LINE) {
            push @lines, $current;
            $current = '';
        }
        while ((my $room = LONGEST_LINE - (@lines ? 0 : $before) - length $current) < length($space) + length $rest) {
            my $count = $room - length $space;
            $count = 0 if $count < 0;
            push @lines, $count ? $current . $space . substr($rest, 0, $count, '') : $current;
            $space   = ' ' if $count || $space eq '';
            $current = '';
        }
        $current .= $space . $rest;
    }
    return join "\r\n", @lines, $current;
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::Header - values of header fields that may stand in a message

=head1 DESCRIPTION

C<legal($octets, $octets_of_the_name, $smtputf8)> gives what may follow the colon (RFC 5322 §2.1.1, RFC 2047, RFC 6532): NUL,
and CR and LF that fold nothing, are left out; lines of white space alone are unfolded; octets above 127 become encoded words
without SMTPUTF8; a line over 998 octets is folded.

=cut
