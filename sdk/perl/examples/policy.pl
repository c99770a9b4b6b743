#!/usr/bin/perl
# Refuses who has left, greylists, refuses a phrase, marks the mail.
use strict;
use warnings;
use Gatepost;
use Time::HiRes 'time';

my $seconds = defined $ENV{GATEPOST_GREYLIST_SECONDS} ? $ENV{GATEPOST_GREYLIST_SECONDS} : 300;
my %first_seen;

sub recipient {
    my ($event) = @_;
    my $address = $event->recipient->address;
    return deny('eve has left', {code => 550, status => '5.1.6'}) if lc $address eq 'eve@example.com';
    if (lc $address eq 'old@example.com') {
        $event->replace_recipient($event->recipient->id, 'new@example.com');
        return declined;
    }
    my $key = join "\0", $event->client_ip, $event->sender->address, $address;
    my $first = $first_seen{$key};
    return declined if defined $first && time >= $first + $seconds;
    $first_seen{$key} = time if !defined $first;
    return denysoft('Greylisted, come back later', {code => 450, status => '4.7.1'});
}

sub content {
    my ($event) = @_;
    my ($body, $last) = ($event->open_body, '');
    while (read $body, my $piece, 65_536) {
        return deny('The body holds a forbidden phrase', {code => 554, status => '5.7.1'})
            if index($last . $piece, 'forbidden phrase') >= 0;
        $last = substr $last . $piece, -15;
    }
    $event->add_header('X-Policy', 'perl');
    return declined;
}

my $worker = Gatepost::Worker->new(name => 'policy', pool => $ENV{GATEPOST_POOL} || 'policy');
$worker->hook(rcpt => \&recipient);
$worker->hook('data_post', needs => ['headers', 'message'], \&content);
$worker->run unless caller;
$worker;
