use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test::More;
use Gatepost::Wire qw(parse_line to_octets);
use Gatepost::Check 'check';

my $golden = "$FindBin::Bin/../../../protocol/golden";
my $checked = 0;
for my $path (glob("$golden/invalid-*.ndjson"), glob("$golden/verdict-*.ndjson")) {
    (my $name = $path) =~ s{.*/}{};
    open my $file, '<:raw', $path or die "$path: $!";
    my %events;
    while (my $line = <$file>) {
        my $step = parse_line($line);
        next if !$step->{from};
        if ($step->{from} eq 'frontend' && $step->{line} && $step->{line}{type} eq 'event') {
            $events{$step->{line}{id}} = $step->{line};
        }
        next if $step->{from} ne 'worker';
        my $said = $step->{line};
        if (!$said && exists $step->{raw}) {
            my ($head, $tail) = map { defined $step->{$_} ? to_octets($step->{$_}) : '' } qw(raw tail);
            $head .= $step->{fill} x ($step->{total} - length($head) - length $tail) if defined $step->{fill};
            $said = eval { parse_line($head . $tail) };
        }
        next if !$said || ($said->{type} || '') ne 'verdict' || !$events{$said->{id}};
        my ($violation, $message) = check($events{$said->{id}}, $said);
        my $wanted = $step->{violation};
        next if defined $wanted && $wanted eq 'file_refused';
        is($violation, $wanted, "$name line $.: " . ($message || 'passes'));
        $checked++;
    }
}
cmp_ok($checked, '>', 250, 'the transcripts were read');
my $event = {hook => 'data_post', args => {}, transaction => {headers => []}};
my (undef, $text) = check($event, {verdict => 'declined', actions => [{op => 'header.add', name => 'X', value => "a\nb"}]});
is($text, 'actions[0].value: "a\nb": a bare LF', 'the message names place, value and rule');
done_testing();
