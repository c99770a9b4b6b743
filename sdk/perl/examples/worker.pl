#!/usr/bin/perl
# Refuses a recipient who has left, counts recipients, marks the mail: a whole policy worker.
use strict;
use warnings;
use Gatepost;

my $worker = Gatepost::Worker->new(name => 'example', pool => $ENV{GATEPOST_POOL} || 'perl');
$worker->hook(rcpt => sub {
    my ($event) = @_;
    return (DENY, 'eve has left') if lc $event->recipient->address eq 'eve@example.com';
    $event->session_notes->{asked}++;
    return DECLINED;
});
$worker->hook(data_post_headers => sub { $_[0]->add_header('X-Seen-By', 'example') });
$worker->run unless caller;
$worker;
