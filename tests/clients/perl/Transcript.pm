package Transcript;

# Prints what a driver sees, scenario by scenario.

use strict;
use warnings;
use utf8;
use Data::Dumper;
use Exporter 'import';

our @EXPORT = qw(note scenario run_all introduce);

binmode STDOUT, ':encoding(UTF-8)';
$| = 1;
my @scenarios;

sub note {
    local ($Data::Dumper::Terse, $Data::Dumper::Indent, $Data::Dumper::Useqq, $Data::Dumper::Sortkeys) = (1, 0, 1, 1);
    print join(' ', map { Dumper($_) } @_), "\n";
}

# scenario SENTENCE, CODE
sub scenario { push @scenarios, [@_] }

sub introduce {
    my ($driver, %lacks) = @_;
    print "! $driver\n";
    print "- $_: $lacks{$_}\n" for sort keys %lacks;
}

# Runs all scenarios; the exit code says whether all of them came to their end.
sub run_all {
    my $failures = 0;
    for (@scenarios) {
        my ($sentence, $code) = @$_;
        print "# $sentence\n";
        next if eval { $code->(); 1 };
        $failures++;
        print "FAILED\n";
        print STDERR "$sentence: $@";
    }
    exit($failures ? 1 : 0);
}

1;
