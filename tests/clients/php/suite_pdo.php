<?php
// PDO over libpq: placeholders bound by the server or put into the text, COPY, notifications, cursors.

declare(strict_types=1);

require __DIR__ . '/transcript.php';

function session(string $more = '', array $attributes = [], ?string $password = null): PDO
{
    $context = getenv('BEMI_CONTEXT');
    // As libpq reads it: a quoted value in the connection string.
    $options = $context ? ";options='-c bemi.context=$context'" : '';
    $place = sprintf('pgsql:host=%s;port=%s;dbname=%s', getenv('PGHOST'), getenv('PGPORT'), getenv('PGDATABASE'));
    return new PDO("$place$more$options", getenv('PGUSER'), $password ?? getenv('PGPASSWORD'), $attributes);
}

function refused(callable $call): void
{
    try {
        $call();
        note('no error');
    } catch (PDOException $error) {
        note($error->errorInfo, $error->getMessage());
    }
}

function rows(PDO $pdo, string $sql, array $values = []): array
{
    $statement = $pdo->prepare($sql);
    $statement->execute($values);
    return $statement->fetchAll(PDO::FETCH_NUM);
}

$scenarios['connect: passwords in the clear and over tls'] = function (): void {
    $verified = ';sslmode=verify-full;sslrootcert=';
    $root = $verified . getenv('BEMI_ROOT_CERT');
    $wrong = $verified . getenv('BEMI_WRONG_ROOT_CERT');
    foreach ([['', null], ['', 'wrong'], [$root, null], [$root, 'wrong'], [$wrong, null]] as [$more, $password]) {
        refused(fn () => note(rows(session($more, password: $password), 'SELECT current_user')));
    }
};

$scenarios['types: there and back'] = function (): void {
    $values = [
        ['int2', -32768], ['int4', 2147483647], ['int8', '-9223372036854775808'], ['float4', 1.5], ['float8', '-Infinity'],
        ['numeric', '-12345678901234567890.01234567890'], ['text', "it's \\ é 🐘"], ['bool', 'true'], ['date', '2024-02-29'],
        ['time', '23:59:59.999999'], ['timestamptz', '2024-02-29 12:00:00+00'], ['interval', '-3 days 7 seconds'],
        ['uuid', '00000000-0000-0000-0000-000000000007'], ['json', '{"a": [1, null]}'], ['jsonb', '{"a": [1, null]}'],
        ['int4[]', '{1,NULL,3}'], ['text', null],
    ];
    foreach ([false, true] as $emulated) {
        $pdo = session(attributes: [PDO::ATTR_EMULATE_PREPARES => $emulated]);
        foreach ($values as [$type, $value]) {
            note($type, rows($pdo, "SELECT CAST(? AS $type)", [$value]));
        }
        $statement = $pdo->prepare('SELECT CAST(:b AS bytea), CAST(:n AS int) + 1, CAST(:t AS bool)');
        $statement->bindValue('b', implode('', array_map(chr(...), range(0, 255))), PDO::PARAM_LOB);
        $statement->bindValue('n', 41, PDO::PARAM_INT);
        $statement->bindValue('t', true, PDO::PARAM_BOOL);
        $statement->execute();
        [$bytes, $number, $truth] = $statement->fetch(PDO::FETCH_NUM);
        note(bin2hex(stream_get_contents($bytes)), $number, $truth);
        $meta = $statement->getColumnMeta(1);
        note($meta['name'], $meta['native_type'], $meta['pdo_type']);
    }
};

$scenarios['prepared: one statement a thousand times'] = function (): void {
    $pdo = session();
    foreach (['INSERT INTO todo (task) VALUES (:task) RETURNING length(task)', 'SELECT length(:task)'] as $sql) {
        $statement = $pdo->prepare($sql);
        $total = 0;
        for ($times = 0; $times < 1000; $times++) {
            $statement->execute(['task' => "row $times"]);
            $total += $statement->fetchColumn();
        }
        note($total);
    }
    $unprepared = $pdo->prepare('DELETE FROM todo WHERE id > ?', [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]);
    $unprepared->execute([5]);
    note($unprepared->rowCount());
};

$scenarios['transaction: commits and savepoints'] = function (): void {
    $pdo = session();
    $insert = $pdo->prepare('INSERT INTO todo (task) VALUES (?)');
    $pdo->beginTransaction();
    $insert->execute(['kept']);
    $pdo->exec('SAVEPOINT one');
    refused(fn () => rows($pdo, 'INSERT INTO todo (id) VALUES (?)', [1]));
    refused(fn () => $insert->execute(['in a failed one']));
    note($pdo->inTransaction());
    $pdo->exec('ROLLBACK TO one');
    $insert->execute(['kept, too']);
    $pdo->commit();
    $pdo->beginTransaction();
    $pdo->exec("UPDATE todo SET task = 'undone'");
    $pdo->rollBack();
    note($pdo->inTransaction(), rows($pdo, 'SELECT task FROM todo ORDER BY id'));
};

$scenarios['copy: copies in and out'] = function (): void {
    $pdo = session();
    $lines = array_map(fn ($id) => "$id\tcopied", range(30001, 35000));
    note($pdo->pgsqlCopyFromArray('todo', $lines, "\t", '\\\\N', 'id, task'));
    refused(fn () => $pdo->pgsqlCopyFromArray('todo', [$lines[0]], "\t", '\\\\N', 'id, task'));
    $out = $pdo->pgsqlCopyToArray('todo', "\t", '\\\\N', 'id, task');
    note(count($out), crc32(implode('', preg_grep('/copied/', $out))));
    note($pdo->exec('DELETE FROM todo WHERE id > 30000'));
};

$scenarios['notify: notifications'] = function (): void {
    $pdo = session();
    $pdo->exec('LISTEN changed');
    $pdo->exec("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'; NOTIFY changed, 'two'");
    while ($heard = $pdo->pgsqlGetNotify(PDO::FETCH_ASSOC, 100)) {
        note($heard['message'], $heard['payload'], $heard['pid'] === $pdo->pgsqlGetPid());
    }
};

$scenarios['errors: in both protocols'] = function (): void {
    $pdo = session();
    $wrong = ['INSERT INTO todo (id) VALUES (1)', "INSERT INTO todo VALUES (9, 'é', mistake)", 'UPDATE todo SET id = 1 / (id - id)', 'UPDATE todo SET'];
    foreach ($wrong as $sql) {
        refused(fn () => $pdo->exec($sql));
        refused(fn () => rows($pdo, $sql));
    }
    refused(fn () => $pdo->exec('SELECT 1; INSERT INTO todo VALUES (9, mistake)'));
    refused(fn () => rows($pdo, 'INSERT INTO todo VALUES (?, mistake)', [9]));
};

$scenarios['stream: cursors'] = function (): void {
    $pdo = session();
    $numbers = "SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n";
    $pdo->beginTransaction();
    $pdo->exec("DECLARE many CURSOR FOR $numbers");
    $sum = 0;
    while ($block = $pdo->query('FETCH 5000 FROM many')->fetchAll(PDO::FETCH_NUM)) {
        foreach ($block as [$number, $text]) {
            $sum += $number + strlen($text);
        }
    }
    note($sum);
    // Each fetch is a FETCH of its own.
    $statement = $pdo->prepare($numbers, [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $statement->execute();
    for ($sum = $rows = 0; $rows < 1000; $rows++) {
        $sum += $statement->fetchColumn();
    }
    note($sum, $statement->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 7));
    $pdo->commit();
};

$scenarios['context: contexts of requests'] = function (): void {
    $pdo = session();
    $insert = $pdo->prepare('INSERT INTO todo (task, who) VALUES (?, ?)');
    foreach (range(1, 4) as $who) {
        $context = json_encode(['user_id' => $who]);
        $pdo->beginTransaction();
        note(rows($pdo, "SELECT set_config('bemi.context', ?, true)", [$context]));
        $insert->execute(['set_config', $who]);
        $pdo->commit();
        $pdo->beginTransaction();
        $pdo->exec("SET LOCAL bemi.context = {$pdo->quote($context)}");
        $insert->execute(['local', $who]);
        $pdo->commit();
        $insert->execute(['of the session', null]);
        rows($pdo, "/*Bemi $context Bemi*/ INSERT INTO todo (task, who) VALUES (?, ?)", ['comment', $who]);
        $pdo->exec("SET bemi.context = {$pdo->quote($context)}");
        $insert->execute(['set', $who]);
        $pdo->exec('RESET bemi.context');
    }
};

$version = session()->getAttribute(PDO::ATTR_CLIENT_VERSION);
introduce('PDO_PGSQL ' . phpversion('pdo_pgsql') . " (libpq $version)", [
    'pipeline' => 'the driver has no pipeline',
    'cancel' => 'the driver cannot cancel a statement',
]);
run_all($scenarios);
