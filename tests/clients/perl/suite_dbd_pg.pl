#!/usr/bin/env perl
# DBD::Pg: DBI over libpq, with placeholders bound by the server, COPY, asynchronous statements, savepoints.

use strict;
use warnings;
use utf8;
use Cwd 'abs_path';
use File::Basename 'dirname';
use lib dirname(abs_path(__FILE__));
use DBI;
use DBD::Pg qw(:pg_types :async);
use Transcript;

$ENV{PGOPTIONS} = "-c bemi.context=$ENV{BEMI_CONTEXT}" if $ENV{BEMI_CONTEXT};

sub connect_with {
    my ($more, $password, %attributes) = @_;
    return DBI->connect("dbi:Pg:$more", $ENV{PGUSER}, $password // $ENV{PGPASSWORD},
        { PrintError => 0, PrintWarn => 0, RaiseError => 1, AutoCommit => 1, %attributes });
}

sub session { return connect_with('', undef, @_) }

# Notes the error that a call ends with.
sub refused {
    my ($dbh, $call) = @_;
    if (eval { $call->(); 1 }) { note('no error') }
    else { note($dbh->state, $dbh->pg_error_field('primary'), $dbh->pg_error_field('detail'), $dbh->pg_error_field('statement_position'), $dbh->errstr) }
}

sub attempt {
    my ($more, $password) = @_;
    my $dbh = eval { connect_with($more, $password) };
    note($dbh ? $dbh->selectrow_array('SELECT current_user') : DBI->errstr);
    $dbh->disconnect if $dbh;
}

scenario 'connect: passwords in the clear and over tls' => sub {
    attempt('');
    attempt('', 'wrong');
    my $verified = 'sslmode=verify-full;sslrootcert=';
    attempt("$verified$ENV{BEMI_ROOT_CERT}");
    attempt("$verified$ENV{BEMI_ROOT_CERT}", 'wrong');
    attempt("$verified$ENV{BEMI_WRONG_ROOT_CERT}");
};

scenario 'types: there and back' => sub {
    my $dbh = session();
    my @values = (
        [int2 => -32768], [int4 => 2147483647], [int8 => '-9223372036854775808'], [float4 => 1.5], [float8 => '-Infinity'],
        [numeric => '-12345678901234567890.01234567890'], [text => "it's \\ é 🐘"], [bool => 1], [bool => 0],
        [date => '2024-02-29'], [time => '23:59:59.999999'], [timestamptz => '2024-02-29 12:00:00+00'],
        [interval => '-3 days 7 seconds'], [uuid => '00000000-0000-0000-0000-000000000007'], [json => '{"a": [1, null]}'],
        [jsonb => '{"a": [1, null]}'], ['int4[]' => [1, undef, 3]], ['text[]' => ['a', 'b "c"', undef]], [text => undef],
    );
    note($_->[0], $dbh->selectrow_array("SELECT ?::$_->[0]", undef, $_->[1])) for @values;
    my $sth = $dbh->prepare('SELECT ?::bytea, octet_length(?::bytea)');
    $sth->bind_param($_, join('', map { chr } 0 .. 255), { pg_type => PG_BYTEA }) for 1, 2;
    $sth->execute;
    note($sth->fetchrow_array);
    note($sth->{NAME}, $sth->{pg_type});
    $sth->finish;
    $dbh->disconnect;
};

scenario 'prepared: one statement a thousand times' => sub {
    my $dbh = session(pg_switch_prepared => 1);
    for my $sql ('INSERT INTO todo (task) VALUES (?) RETURNING length(task)', 'SELECT length(?)') {
        my $sth = $dbh->prepare($sql);
        my $total = 0;
        for my $times (0 .. 999) {
            $sth->execute("row $times");
            $total += ($sth->fetchrow_array)[0];
        }
        note($total);
    }
    my $insert = $dbh->prepare('INSERT INTO todo (task) VALUES (?)');
    note($insert->execute_array({ ArrayTupleStatus => \my @status }, [map { "tuple $_" } 1 .. 50]));
    note(scalar @status);
    note($dbh->do('DELETE FROM todo WHERE id > 5'));
    $dbh->disconnect;
};

scenario 'transaction: commits and savepoints' => sub {
    my $dbh = session(AutoCommit => 0);
    $dbh->do('INSERT INTO todo (task) VALUES (?)', undef, 'kept');
    $dbh->pg_savepoint('one');
    refused($dbh, sub { $dbh->do('INSERT INTO todo (id) VALUES (?)', undef, 1) });
    refused($dbh, sub { $dbh->do('INSERT INTO todo (task) VALUES (?)', undef, 'in a failed one') });
    note($dbh->ping);
    $dbh->pg_rollback_to('one');
    $dbh->do(q{INSERT INTO todo (task) VALUES ('kept, too')});
    $dbh->pg_release('one');
    $dbh->commit;
    $dbh->do('UPDATE todo SET task = ?', undef, 'undone');
    $dbh->rollback;
    note($dbh->selectcol_arrayref('SELECT task FROM todo ORDER BY id'));
    $dbh->rollback;
    $dbh->{ReadOnly} = 1;
    refused($dbh, sub { $dbh->do(q{UPDATE todo SET task = 'read only'}) });
    $dbh->rollback;
    $dbh->disconnect;
};

scenario 'copy: copies in and out' => sub {
    my $dbh = session();
    for my $last (35_000, 30_001) {
        $dbh->do('COPY todo (id, task) FROM STDIN');
        $dbh->pg_putcopydata("$_\tcopied\n") for 30_001 .. $last;
        if ($last == 35_000) { note($dbh->pg_putcopyend) }
        else { refused($dbh, sub { $dbh->pg_putcopyend }) }
    }
    $dbh->do('COPY (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT');
    my ($line, $size) = ('', 0);
    $size += length $line while $dbh->pg_getcopydata($line) >= 0;
    note($size, $dbh->do('DELETE FROM todo WHERE id > 30000'));
    $dbh->disconnect;
};

scenario 'notify: notifications and notices' => sub {
    my $dbh = session(PrintWarn => 1);
    local $SIG{__WARN__} = sub { note('warning', $_[0] =~ /^(.*)/) };
    $dbh->do('LISTEN changed');
    $dbh->do(q{INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'; NOTIFY changed, 'two'});
    $dbh->do(q{DO $$ BEGIN RAISE WARNING 'careful'; END $$});
    while (my $heard = $dbh->pg_notifies) { note($heard->[0], $heard->[2], $heard->[1] == $dbh->{pg_pid}) }
    $dbh->disconnect;
};

scenario 'cancel: an asynchronous statement' => sub {
    my $dbh = session();
    $dbh->do('INSERT INTO todo (task) SELECT pg_sleep(60)::text', { pg_async => PG_ASYNC });
    my $other = session();
    my $asleep = q{SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'};
    select undef, undef, undef, 0.02 until $other->selectrow_array($asleep);
    $other->disconnect;
    note($dbh->pg_ready);
    note($dbh->pg_cancel, $dbh->state);
    note($dbh->do('INSERT INTO todo (task) VALUES (?)', undef, 'after'));
    $dbh->do('UPDATE todo SET done = true WHERE id = 1', { pg_async => PG_ASYNC });
    note($dbh->pg_result);
    $dbh->disconnect;
};

scenario 'errors: in both protocols' => sub {
    my $dbh = session();
    for my $sql ('INSERT INTO todo (id) VALUES (1)', q{INSERT INTO todo VALUES (9, 'é', mistake)}, 'UPDATE todo SET id = 1 / (id - id)', 'UPDATE todo SET') {
        refused($dbh, sub { $dbh->do($sql) });
        refused($dbh, sub { $dbh->do("$sql /* ? */", undef) });
        refused($dbh, sub { $dbh->prepare($sql, { pg_prepare_now => 1 })->execute });
    }
    refused($dbh, sub { $dbh->do('INSERT INTO todo VALUES (?, mistake)', undef, 9) });
    refused($dbh, sub { $dbh->do('SELECT 1; INSERT INTO todo VALUES (9, mistake)') });
    $dbh->disconnect;
};

scenario 'stream: a cursor' => sub {
    my $dbh = session(AutoCommit => 0);
    $dbh->do(q{DECLARE many CURSOR FOR SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n});
    my ($sum, $sth) = (0);
    do {
        $sth = $dbh->prepare('FETCH 5000 FROM many');
        $sth->execute;
        while (my ($number, $text) = $sth->fetchrow_array) { $sum += $number + length $text }
    } while $sth->rows > 0;
    note($sum);
    $dbh->commit;
    $dbh->disconnect;
};

scenario 'context: contexts of requests' => sub {
    my $dbh = session();
    my $insert = $dbh->prepare('INSERT INTO todo (task, who) VALUES (?, ?)');
    for my $who (1 .. 4) {
        my $context = qq({"user_id": $who});
        $dbh->begin_work;
        note($dbh->selectrow_array(q{SELECT set_config('bemi.context', ?, true)}, undef, $context));
        $insert->execute('set_config', $who);
        $dbh->commit;
        $dbh->begin_work;
        $dbh->do('SET LOCAL bemi.context = ' . $dbh->quote($context));
        $insert->execute('local', $who);
        $dbh->commit;
        $insert->execute('of the session', undef);
        $dbh->do("/*Bemi $context Bemi*/ INSERT INTO todo (task, who) VALUES (?, ?)", undef, 'comment', $who);
        $dbh->do('SET bemi.context = ' . $dbh->quote($context));
        $insert->execute('set', $who);
        $dbh->do('RESET bemi.context');
    }
    $dbh->disconnect;
};

introduce("DBD::Pg $DBD::Pg::VERSION", pipeline => 'the driver has no pipeline');
run_all();
