use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp 'tempdir';
use Test::More;
use Gatepost qw(deny declined DECLINED DENYSOFT);
use Gatepost::Header 'legal';
use Gatepost::Test;

$ENV{GATEPOST_GREYLIST_SECONDS} = 0;
my $policy  = do "$FindBin::Bin/../examples/policy.pl" or die $@ || $!;
my $session = test_session($policy);
is($session->connect, 'declined', 'a hook without a handler');
$session->mail('bob@example.net');
my $verdict = $session->rcpt('eve@example.com');
is_deeply([$verdict->word, $verdict->code, $verdict->status, $verdict->text], ['deny', 550, '5.1.6', 'eve has left'], 'deny');
is($verdict->plugin, 'recipient', 'the plugin is the name of the sub');
is($session->rcpt('jo@example.com')->code, 450, 'greylisted');
is($session->rcpt('jo@example.com'), 'declined', 'the second time');
$session->rcpt('old@example.com');
is_deeply([$session->recipients], ['jo@example.com', 'new@example.com'], 'replaced');
is($session->message("Subject: x\n\na forbidden phrase\n")->code, 554, 'refused by its body');
is($session->message("Subject: x\n\nbody\n"), 'declined', 'the message passes');
is($session->header('X-Policy'), 'perl', 'the field');
is($session->queue, 'declined', 'nobody queues');

sub mistake { my (%option) = @_; return Gatepost::Worker->new(name => 'x')->hook($option{hook} || 'rcpt', {plugin => 'mark', %{$option{with} || {}}}, $option{do}) }
for my $row (
    ['two lines in one', sub { deny("a\nb") }, qr/invalid_verdict: mark at rcpt: reply_text: reply\.text\[0\]: "a\\nb": a control/],
    ['a wrong code', sub { deny('x', {code => 250}) }, qr/reply_code: reply\.code: 250/],
    ['a value that is no verdict', sub { 1 }, qr/exception: a handler returns a verdict/],
    ['a failure', sub { die "database is locked\n" }, qr/exception: database is locked/],
    ['a part that was not needed', sub { $_[0]->recipients }, qr/needs => \['recipients'\]/],
    ['an action that the hook does not allow', sub { $_[0]->add_header(X => 'y'); return }, qr/action_not_allowed: actions\[0\]/],
    ['notes that are not JSON', sub { $_[0]->session_notes->{x} = sub { }; return }, qr/invalid_verdict/],
    )
{
    my ($name, $do, $wanted) = @$row;
    ok(!eval { test_session(mistake(do => $do))->rcpt('a@example.org'); 1 }, "$name is a failure");
    like($@, $wanted, "$name: the message");
}
ok(!eval { test_session(mistake(do => sub { select undef, undef, undef, 5; return }), deadline_ms => 100)->rcpt('a@example.org'); 1 }, 'slow');
like($@, qr/deadline: /, 'a handler that takes too long is ended');

my $stubborn = sub { for (1 .. 3) { eval { select undef, undef, undef, 5 } } return };
ok(!eval { test_session(mistake(do => $stubborn), deadline_ms => 100)->rcpt('a@example.org'); 1 }, 'stubborn');
like($@, qr/deadline: /, 'and so is one that catches that');

my @log;
my $told = Gatepost::Worker->new(name => 'v', log => sub { push @log, "@_" })->hook(rcpt => sub {return});
is(${$told->hello->{violations}}, 1, 'hello asks for violations');
my $heard = test_session($told);
$heard->{connection}->receive(qq({"type":"violation","id":1,"hook":"rcpt","plugin":"x","violation":"reply_text","message":"reply.text[0]: no"}\n));
is_deeply(\@log, ['error the frontend refused an answer: x at rcpt: reply_text: reply.text[0]: no'], 'a violation is logged');
is($heard->{connection}->take, '', 'and not answered');

my $notes = Gatepost::Worker->new(name => 'n');
$notes->hook(rcpt => sub { $_[0]->session_notes->{asked}++; $_[0]->transaction_notes->{list} = [1, "\xc3\xa9"]; return DECLINED });
$notes->hook(rcpt => sub { return (DENYSOFT, 'twice') if $_[0]->session_notes->{asked} > 1; return });
my $noted = test_session($notes);
is($noted->rcpt('a@example.org'), 'declined', 'the second handler sees the notes of the first');
is($noted->rcpt('b@example.org'), 'denysoft', 'qpsmtpd\'s list');
is($noted->notes->{asked}, 2, 'notes stay');
is_deeply($noted->transaction_notes, {list => [1, "\xc3\xa9"]}, 'octets stay');

my $stream = Gatepost::Worker->new(name => 's');
my $seen;
$stream->hook('data_post', {needs => ['headers', 'message']}, sub { my $handle = $_[0]->open_message; local $/; $seen = <$handle>; return });
test_session($stream)->message("A: 1\nB: 2\n\nbody\n");
is($seen, "A: 1\r\nB: 2\r\n\r\nbody\r\n", 'the message as one stream');

my $replace = Gatepost::Worker->new(name => 'r');
$replace->hook('data_post', {needs => ['headers', 'message']}, sub {
    my ($event) = @_;
    $event->delete_header(($event->headers)[0]->id);
    my $path = $event->new_message_path;
    open my $file, '>:raw', $path or die $!;
    print $file "Old: x\r\nNew: y\r\n\r\nbody\r\n";
    close $file;
    $event->replace_message($path);
    return;
});
my $replaced = test_session($replace);
$replaced->message("Old: 1\n\nbody\n");
is_deeply([$replaced->headers], [['New', ' y']], 'another message in its place, without the field that was deleted');

is(legal("caf\xc3\xa9", 1, 0), '=?UTF-8?Q?caf=C3=A9?=', 'encoded');
is(legal("a\nb\0\r\n c", 1, 0), "ab\r\n c", 'what folds nothing is left out');
cmp_ok((sort { $b <=> $a } map {length} split /\r\n/, legal('x ' x 1000 . 'y' x 3000, 3, 0))[0], '<=', 998, 'folded');

my $folder  = tempdir(CLEANUP => 1);
my $control = Gatepost::ControlFile->new('left', folder => $folder, log => sub { });
is_deeply([$control->lines], [], 'a file that is not there');
sub write_file { my ($name, $text) = @_; open my $file, '>:raw', "$folder/$name" or die $!; print $file $text; close $file }
write_file(more => "three\n");
write_file(left => "\xef\xbb\xbf# who\n\n  One two \r\n\$include more\n");
is_deeply([$control->lines], ['One two', 'three'], 'lines');
is_deeply([$control->words], ['One', 'three'], 'first words');
ok($control->has('one') && !$control->has('two'), 'has');
write_file(more => "three\nfour\n");
is_deeply([$control->lines], ['One two', 'three', 'four'], 'read again');
write_file(left => "\$include ../x\nnew\n");
is_deeply([$control->lines], ['One two', 'three', 'four'], 'a broken file keeps its last good content');
my $generated = `$^X $FindBin::Bin/../generate --print`;
open my $constants, '<:raw', "$FindBin::Bin/../lib/Gatepost/Constants.pm" or die $!;
ok($generated eq do { local $/; <$constants> }, 'Constants.pm is what generate makes of protocol/ now');
done_testing();
