use strict;
use warnings;
use FindBin;
use File::Temp 'tempdir';
use Test::More;

# An author's first hour: install, copy the worker of README.md and its test, run it.
my $sdk    = "$FindBin::Bin/..";
my $folder = tempdir(CLEANUP => 1);
sub run { my ($name, $command) = @_; my $said = `cd $folder && ($command) 2>&1`; is($?, 0, $name) or diag($said); return $said }

run('a copy', "cp -r '$sdk' sdk");
run('installation', "cd sdk && '$^X' Makefile.PL INSTALL_BASE=$folder/installed && make && make install");
open my $file, '<:raw', "$sdk/README.md" or die $!;
my $readme = do { local $/; <$file> };
my ($worker, $test) = $readme =~ /^```perl\n(.*?)^```$/msg;
open my $example, '<:raw', "$sdk/examples/worker.pl" or die $!;
is($worker, do { local $/; <$example> }, 'README shows the example as it is');
for my $row (['worker.pl', $worker], ['worker.t', $test]) {
    open my $out, '>:raw', "$folder/$row->[0]" or die $!;
    print $out $row->[1];
    close $out;
}
like(run('README\'s test', "PERL5LIB=$folder/installed/lib/perl5 prove worker.t"), qr/All tests successful/, 'it passes');
my $broken = $worker =~ s/'X-Seen-By', 'example'/'X:Seen', 'x'/r;
open my $out, '>:raw', "$folder/worker.pl" or die $!;
print $out $broken;
close $out;
like(`cd $folder && PERL5LIB=$folder/installed/lib/perl5 prove worker.t 2>&1`, qr/data_post_headers at data_post_headers: header_name: /, 'a mistake is named');
done_testing();
