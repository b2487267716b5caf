/** Keys that several stages have under the same name and meaning. Pure data. */
import { defineKeys } from '../../../runtime/schema.js';

export const commonKeys = defineKeys({
  stations: {
    type: 'path',
    required: true,
    help: 'Station list: province,id,name,lat,lon,height',
    reload: 'child',
    aliases: ['inifile'],
  },
  store: {
    type: 'secret',
    default: 'sqlite:var/data.db',
    help: 'URL of the database',
    reload: 'child',
    aliases: ['connstr'],
  },
});

/** Of stages that take files from a folder. */
export const incomingKeys = defineKeys({
  files_per_scan: {
    type: 'int',
    default: '1000',
    min: 1,
    max: 100_000,
    help: 'Files taken from one look into the folder, the first by name',
    reload: 'child',
  },
  lease: {
    type: 'duration',
    default: '10m',
    min: 10_000,
    help: 'Silence after which files claimed by another machine are taken over',
    reload: 'child',
  },
});
