package Gatepost;
use strict;
use warnings;
our $VERSION = '0.1.0';
use Gatepost::ControlFile;
use Gatepost::Verdict;
BEGIN { Gatepost::Verdict->import('ok') }
use Gatepost::Worker;
use Exporter 'import';
our @EXPORT    = @Gatepost::Verdict::EXPORT;
our @EXPORT_OK = @Gatepost::Verdict::EXPORT_OK;

1;

__END__

=encoding UTF-8

=head1 NAME

Gatepost - policy workers for the Gatepost SMTP server

=head1 SYNOPSIS

    use Gatepost;
    my $worker = Gatepost::Worker->new(name => 'example', pool => 'perl');
    $worker->hook(rcpt => sub { my ($event) = @_; return DECLINED });
    $worker->run unless caller;
    $worker;

=head1 DESCRIPTION

Exports the functions and constants of L<Gatepost::Verdict>, and loads L<Gatepost::Worker> and L<Gatepost::ControlFile>. Events are
L<Gatepost::Event>; L<Gatepost::Test> tests a worker without a server.

=cut
