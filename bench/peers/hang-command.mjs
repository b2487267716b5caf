// Preloaded into the program (`node --import`) by the recover bench: adds a packet command 4 that never returns.
const { COMMANDS } = await import(new URL('../../dist/actors/packet/commands/index.js', import.meta.url));

COMMANDS.push({
  code: 4,
  name: 'hang',
  bodyBytes: 0,
  handle() {
    for (;;);
  },
});
