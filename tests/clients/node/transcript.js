// Prints what a driver sees, scenario by scenario.
'use strict';

const context = process.env.BEMI_CONTEXT || '';

// Options that a session starts with.
const options = context ? `-c bemi.context=${context}` : '';

function note(...values) {
  console.log(JSON.stringify(values, (_key, value) => {
    if (typeof value === 'bigint') return `${value}n`;
    if (value && value.type === 'Buffer') return `bytes ${value.data.length}`;
    return value;
  }));
}

// What is the same from run to run in an error of the server.
function noteError(error) {
  const { code, message, severity, detail, position, where, routine, constraint_name, constraint } = error;
  note({ code, message, severity, detail, position, where, routine, constraint: constraint || constraint_name });
}

// Notes the error that a promise ends with.
async function refused(promise) {
  try {
    await promise;
    note('no error');
  } catch (error) {
    noteError(error);
  }
}

// Runs scenarios, named by sentences; the exit code says whether all of them came to their end.
async function runAll(scenarios) {
  for (const [name, scenario] of Object.entries(scenarios)) {
    console.log(`# ${name}`);
    try {
      await scenario();
    } catch (error) {
      console.log('FAILED');
      console.error(name, error);
      process.exitCode = 1;
    }
  }
}

module.exports = { context, options, note, noteError, refused, runAll };
