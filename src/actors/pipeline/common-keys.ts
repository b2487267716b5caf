/** Keys that several stages have under the same name and meaning. Pure data. */
import { defineKeys } from '../../runtime/schema.js';

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
