package Gatepost::ControlFile;
use strict;
use warnings;
use Gatepost::Wire ();
use Time::HiRes ();

sub new {
    my ($class, $path, %option) = @_;
    if ($path !~ m{/}) { $path = ($option{folder} || $ENV{GATEPOST_CONFIG} || 'config') . "/$path" }
    return bless {path => $path, lines => [], log => $option{log} || sub { print STDERR "$_[0] gatepost: $_[1]\n" }}, $class;
}

sub lines {
    my ($self) = @_;
    $self->_look;
    return @{$self->{lines}};
}
sub words { my ($self) = @_; return map { (split /[ \t]+/, $_, 2)[0] } $self->lines }
sub first { my ($self) = @_; return ($self->lines)[0] }
sub has { my ($self, $word) = @_; $self->_look; return exists $self->{words}{lc $word} ? 1 : 0 }

sub _stamp {
    my ($path) = @_;
    my @stat = Time::HiRes::stat($path);
    return @stat ? join ' ', @stat[0, 1, 7, 9, 10] : '';
}

sub _look {
    my ($self) = @_;
    my $stamps = $self->{stamps};
    if ($stamps) {
        return if !grep { $_->[1] ne _stamp($_->[0]) } @$stamps;
    }
    my (@lines, @stamps);
    my $read = eval { _read($self->{path}, 0, \@lines, \@stamps); 1 };
    my $problem = $@;
    $self->{stamps} = \@stamps;
    if (!$read) {
        chomp $problem;
        $self->{log}->('error', "$problem; the last good content stays");
        return;
    }
    $self->{lines} = \@lines;
    $self->{words} = {map { lc((split /[ \t]+/, $_, 2)[0]) => 1 } @lines};
    return;
}

sub _read {
    my ($path, $depth, $lines, $stamps) = @_;
    die "$path: includes nest too deeply\n" if $depth >= 16;
    push @$stamps, [$path, _stamp($path)];
    my $file;
    if (!open $file, '<:raw', $path) {
        return if !$depth && $!{ENOENT};
        die "$path: $!\n";
    }
    local $/ = "\n";
    while (my $line = <$file>) {
        $line =~ s/\A\xef\xbb\xbf// if $. == 1;
        $line =~ s/\A[ \x09-\x0d]+|[ \x09-\x0d]+\z//g;
        next if $line eq '' || $line =~ /\A#/;
        Gatepost::Wire::valid_utf8($line) or die "$path:$.: this line is not UTF-8; save the file as UTF-8\n";
        if ($line =~ /\A\$include(?:[ \t]+(.*))?\z/) {
            my $name = defined $1 ? $1 : '';
            $name ne '' && !grep { $_ eq '..' } split m{/}, $name
                or die "$path:$.: \$include needs a name without ..; name a control file, or an absolute path\n";
            (my $folder = $path) =~ s{[^/]*\z}{};
            my $target = $name =~ m{\A/} ? $name : $folder . $name;
            if (-d $target) {
                push @$stamps, [$target, _stamp($target)];
                _read($_, $depth + 1, $lines, $stamps) for grep { -f } sort glob "\Q$target\E/*";
            }
            else { _read($target, $depth + 1, $lines, $stamps) }
            next;
        }
        push @$lines, $line;
    }
    return;
}

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost::ControlFile - a control file of qpsmtpd, read live

=head1 SYNOPSIS

    my $left = Gatepost::ControlFile->new('left', folder => 'config');
    return deny('Has left') if $left->has($event->recipient->address);

=head1 DESCRIPTION

C<lines> gives the lines without comments (C<#> at the beginning), empty lines, and white space around them; C<words> the first
word of each; C<first> the first line, as of a file C<config/NAME> with one value; C<has($word)> looks for a first word, without
letter case. The file is read again when it has changed. C<$include FILE> takes another file, or all of a folder. A file that is
not there has no lines; one that cannot be read keeps its last good content, and the log says so. A name without a slash is
looked for in C<folder>, else in the environment's C<GATEPOST_CONFIG>, else in C<config>.

=cut
