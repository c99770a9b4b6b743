use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Gatepost ();
use Gatepost::Wire qw(parse_line encode_line to_octets is_integer is_number);

sub same {
    my ($wanted, $got) = @_;
    return !defined $got if !defined $wanted;
    return 0 if !defined $got || ref $wanted ne ref $got;
    return !grep({ !same($wanted->{$_}, $got->{$_}) } keys %$wanted) && keys %$wanted == keys %$got if ref $wanted eq 'HASH';
    return @$wanted == @$got && !grep { !same($wanted->[$_], $got->[$_]) } 0 .. $#$wanted if ref $wanted eq 'ARRAY';
    return is_integer($wanted) == is_integer($got) && $wanted == $got if !ref $wanted && is_number($wanted);
    return $wanted eq $got;
}

sub matches {
    my ($wanted, $got, $cancelled) = @_;
    return $got->{type} eq 'verdict' || $got->{type} eq 'error' if $cancelled && defined $wanted->{id} && $cancelled->{$wanted->{id}};
    for my $name (keys %$wanted) {
        next if $name eq 'message';
        my ($left, $right) = ($wanted->{$name}, $got->{$name});
        if ($wanted->{type} eq 'hello' && $name eq 'hooks') {
            for my $side ($left, $right) { $_->{needs} and $_->{needs} = [sort @{$_->{needs}}] for values %$side }
        }
        return 0 if $wanted->{type} eq 'hello' && $name eq 'worker' ? grep({ !same($left->{$_}, $right->{$_}) } keys %$left) : !same($left, $right);
    }
    return 1 if $wanted->{type} eq 'hello';
    for my $name (grep { !exists $wanted->{$_} } keys %$got) {
        next if $name =~ /\A(?:plugin|trace|message)\z/;
        my $value = $got->{$name};
        return 0 if !(ref $value eq 'HASH' && !%$value || ref $value eq 'ARRAY' && !@$value);
    }
    return 1;
}

sub octets_of {
    my ($step) = @_;
    return encode_line($step->{line}) if $step->{line};
    my ($head, $tail) = map { defined $step->{$_} ? to_octets($step->{$_}) : '' } qw(raw tail);
    $head .= $step->{fill} x ($step->{total} - length($head) - length $tail) if defined $step->{fill};
    return $head . $tail;
}

sub worker_of {
    my ($first) = @_;
    my $worker = Gatepost::Worker->new(name => 'demo', concurrency => 4, log => sub { });
    for my $hook (sort keys %{$first->{plugins}}) {
        my $script = $first->{plugins}{$hook};
        my %option = map { $_ => $script->{$_} } grep { exists $script->{$_} } qw(needs observe idempotent extensions);
        $worker->hook($hook, %option, sub {
            my ($event) = @_;
            die "$script->{raise}\n" if exists $script->{raise};
            $event->progress($script->{progress}) if $script->{progress};
            return if !$script->{verdict};
            return Gatepost::Verdict->new($script->{verdict}, {map { $_ => $script->{$_} } grep { exists $script->{$_} } qw(reply notes actions)});
        });
    }
    return $worker;
}

sub replay {
    my ($path, $splitting) = @_;
    open my $file, '<:raw', $path or die "$path: $!";
    my ($first, @steps) = map { parse_line($_) } <$file>;
    my $worker = worker_of($first);
    my $hello  = {%{$worker->hello}, %{$first->{hello} || {}}};
    my $connection = Gatepost::Connection->new($hello, log => sub { });
    my ($written, @held, @wanted, %cancelled) = ('');
    my $feed = sub {
        push @held, $connection->receive($_[0]);
        for my $event (@held) { $event->{send} ||= sub { $connection->progress($_[0]) } }
        my @rest;
        for my $event (@held) {
            my $script = $first->{plugins}{$event->hook};
            if (($script->{until} || '') eq 'cancel' && !$event->{cancelled} && !$connection->closed) { push @rest, $event; next }
            delete $event->{cancelled} if ($script->{until} || '') eq 'cancel';
            $worker->serve_event($connection, $event);
        }
        @held = @rest;
        $written .= $connection->take;
    };
    $written .= $connection->take;
    my $pending = '';
    my $barrier = sub { $feed->($pending) if length $pending; $pending = '' };
    for my $step (@steps) {
        if ($step->{from} && $step->{from} eq 'worker') { push @wanted, $step->{line} if $step->{line} }
        elsif ($step->{from}) {
            my $octets = octets_of($step);
            $cancelled{$step->{line}{id}} = 1 if $step->{line} && $step->{line}{type} eq 'cancel';
            if    ($splitting eq 'lines')  { $feed->($octets) }
            elsif ($splitting eq 'octets') { $feed->($_) for length $octets > 20_000 ? unpack('(a997)*', $octets) : split //, $octets }
            else                           { $pending .= $octets }
        }
        else {
            $barrier->();
            if (($step->{stop} || '') eq 'worker') { $connection->drain; $written .= $connection->take }
            if ($step->{elapsed_ms} && $step->{elapsed_ms} > 5000 && !$connection->welcome) { $connection->leave('timeout'); $written .= $connection->take }
            return "not closed at line $step" if ($step->{close} || '') eq 'worker' && !$connection->closed;
        }
    }
    $barrier->();
    my %got;
    push @{$got{defined $_->{id} ? $_->{id} : ''}}, $_ for map { parse_line($_) } split /(?<=\n)/, $written;
    for my $line (@wanted) {
        my $id  = defined $line->{id} ? $line->{id} : '';
        my $got = shift @{$got{$id} || []};
        return 'wanted ' . encode_line($line) . 'got ' . ($got ? encode_line($got) : 'nothing') if !$got || !matches($line, $got, \%cancelled);
    }
    my @more = map {@$_} values %got;
    return @more ? 'also wrote ' . encode_line($more[0]) : '';
}

my $replayed = 0;
for my $path (glob "$FindBin::Bin/../../../protocol/golden/*.ndjson") {
    (my $name = $path) =~ s{.*/}{};
    open my $file, '<:raw', $path or die "$path: $!";
    my $side = parse_line(scalar <$file>)->{side};
    close $file;
    next if $side eq 'frontend';
    for my $splitting (qw(lines octets whole)) {
        is(eval { replay($path, $splitting) } // "died: $@", '', "$name, $splitting");
        $replayed++;
    }
}
cmp_ok($replayed, '>', 200, 'the transcripts were read');
done_testing();
