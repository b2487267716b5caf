import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cli } from '../../src/cli.js';
import { importScript } from '../../src/cli/import-conf.js';
import { shellCommands } from '../../src/cli/import-shell.js';
import { loadConf } from '../../src/cli/conf.js';
import { defineKeys } from '../../src/runtime/schema.js';

const words = (script: string): readonly (readonly string[])[] =>
  shellCommands(script).map((command) => [...command.words]);

describe('a start script', () => {
  it('is split into words as sh splits it', () => {
    expect(words(`a 'b c' "d \\"e\\" $" f\\ g h"i"'j'k # comment\nl#m "#n"`)).toEqual([
      ['a', 'b c', 'd "e" $', 'f g', 'hijk'],
      ['l#m', '#n'],
    ]);
    expect(words('a \\\n b; c && d & e | f')).toEqual([['a', 'b'], ['c'], ['d'], ['e'], ['f']]);
    expect(words('a > /dev/null 2>&1 b >>x < y')).toEqual([['a', 'b']]);
    expect(words(`a '<where>x<5 and y > 3</where>' "*.log"`)).toEqual([
      ['a', '<where>x<5 and y > 3</where>', '*.log'],
    ]);
  });

  it('has its simple variables put in, and others left with a word about them', () => {
    const commands = shellCommands('DIR=/idc/bin\nX=1 $DIR/p "${DIR}/q" $HOME/r `date`');
    expect(commands).toEqual([
      {
        words: ['/idc/bin/p', '/idc/bin/q', '$HOME/r', '`date`'],
        line: 2,
        doubts: ['the variable HOME', 'a command substitution', 'a command substitution'].map(
          (what) => `${what} is left as it is written`,
        ),
      },
    ]);
  });

  it('gives each command the line where it begins', () => {
    const script = '# one\n\na "x\ny" \\\n z\nb\n';
    expect(shellCommands(script).map(({ line }) => line)).toEqual([3, 6]);
    expect(() => shellCommands("a\nb 'open\n")).toThrow(/line 2: the quote ' is never closed/);
  });
});

/** As the deployments of spec data-centre 2.5 are written, with both generations' ways. */
const SCRIPT = `#!/bin/bash
# all of it runs under procctl
BIN=/project/idc/bin
TOOLS=/project/tools/bin

# root does this
$TOOLS/procctl 10 $TOOLS/checkproc /tmp/log/checkproc.log
$TOOLS/procctl 60 $BIN/crtsurfdata /project/idc/ini/stcode.ini /tmp/idc/surfdata /log/idc/crtsurfdata.log csv,xml,json
$TOOLS/procctl 300 $TOOLS/deletefiles /tmp/idc/surfdata "*" 0.02
$TOOLS/procctl 300 $TOOLS/gzipfiles /log/idc "*.log.20*" 0.02
$TOOLS/procctl 30 $TOOLS/ftpgetfiles /log/idc/ftpgetfiles.log "<host>127.0.0.1:21</host><mode>1</mode><username>wucz</username><password>ftp-sekrit</password><timeout>80</timeout>"
$TOOLS/procctl 10 $TOOLS/fileserver 5005 /log/idc/fileserver.log
$TOOLS/procctl 120 $BIN/obtcodetodb /project/idc/ini/stcode.ini "127.0.0.1,root,db-sekrit,mysql,3306" utf8 /log/idc/obtcodetodb.log
$TOOLS/procctl 10 $BIN/obtmindtodb /idcdata/surfdata "idc/ora-sekrit@snorcl11g_130" "Simplified Chinese_China.AL32UTF8" /log/idc/obtmindtodb.log
$TOOLS/procctl 120 /usr/bin/sqlplus -S "idc/ora-sekrit@snorcl11g_130" @/project/idc/sql/deletetable.sql
$TOOLS/procctl 3600 $TOOLS/dminingoracle /log/idc/dminingoracle_ZHOBTCODE.log "<connstr>idc/ora-sekrit@snorcl11g_130</connstr><charset>Simplified Chinese_China.AL32UTF8</charset><selectsql>select obtid,cityname,provname,lat,lon,height from T_ZHOBTCODE where obtid like '5%%%%'</selectsql><fieldstr>obtid,cityname,provname,lat,lon,height</fieldstr><fieldlen>5,30,30,10,10,10</fieldlen><bfilename>ZHOBTCODE</bfilename><efilename>togxpt</efilename><outpath>/idcdata/dmindata</outpath><timeout>30</timeout><pname>dminingoracle_ZHOBTCODE</pname>"
$TOOLS/procctl 30 $TOOLS/dminingmysql /log/idc/dminingmysql_ZHOBTMIND.log "<connstr>127.0.0.1,root,db-sekrit,mysql,3306</connstr><charset>utf8</charset><selectsql>select obtid,date_format(ddatetime,'%%Y-%%m-%%d %%H:%%i:%%s'),t,keyid from T_ZHOBTMIND where keyid>:1 and ddatetime>timestampadd(minute,-120,now())</selectsql><fieldstr>obtid,ddatetime,t,keyid</fieldstr><fieldlen>10,19,8,15</fieldlen><bfilename>ZHOBTMIND</bfilename><efilename>togxpt</efilename><outpath>/idcdata/dmindata</outpath><starttime></starttime><incfield>keyid</incfield><incfilename>/idcdata/dmining/dminingmysql_ZHOBTMIND_togxpt.list</incfilename><timeout>30</timeout><pname>dminingmysql_ZHOBTMIND_togxpt</pname><maxcount>1000</maxcount><connstr1>127.0.0.1,root,db-sekrit,mysql,3306</connstr1>"
$TOOLS/procctl 10 $TOOLS/xmltodb /log/idc/xmltodb_vip.log "<connstr>idc/ora-sekrit@snorcl11g_130</connstr><charset>Simplified Chinese_China.AL32UTF8</charset><inifilename>/project/idc/ini/xmltodb.xml</inifilename><xmlpath>/idcdata/xmltodb/vip</xmlpath><xmlpathbak>/idcdata/xmltodb/vipbak</xmlpathbak><xmlpatherr>/idcdata/xmltodb/viperr</xmlpatherr><timetvl>5</timetvl><timeout>50</timeout><pname>xmltodb_vip</pname>"
$TOOLS/procctl 3600 $TOOLS/deletetable /log/idc/deletetable_ZHOBTMIND1.log "<connstr>127.0.0.1,root,db-sekrit,mysql,3306</connstr><tname>T_ZHOBTMIND1</tname><keycol>keyid</keycol><where>where ddatetime<timestampadd(minute,-120,now())</where><starttime>02,13</starttime><timeout>120</timeout><pname>deletetable_ZHOBTMIND1</pname>"
$TOOLS/procctl 3600 $TOOLS/migratetable /log/idc/migratetable_ZHOBTMIND.log "<connstr>127.0.0.1,root,db-sekrit,mysql,3306</connstr><srctname>T_ZHOBTMIND</srctname><dsttname>T_ZHOBTMIND_HIS</dsttname><keycol>keyid</keycol><where>where ddatetime<timestampadd(minute,-120,now())</where><maxcount>100</maxcount><timeout>120</timeout><pname>migratetable_ZHOBTMIND</pname>"
$TOOLS/procctl 10 $TOOLS/syncupdate /log/idc/syncupdate_ZHOBTCODE2.log "<localconnstr>127.0.0.1,root,db-sekrit,mysql,3306</localconnstr><charset>utf8</charset><fedtname>LK_ZHOBTCODE1</fedtname><localtname>T_ZHOBTCODE2</localtname><remotecols>obtid,cityname,provname,lat,lon,height/10,upttime,keyid</remotecols><localcols>stid,cityname,provname,lat,lon,altitude,upttime,keyid</localcols><where>where obtid like '54%%%%'</where><synctype>2</synctype><remoteconnstr>10.0.0.9,root,db-sekrit,mysql,3306</remoteconnstr><remotetname>T_ZHOBTCODE1</remotetname><remotekeycol>obtid</remotekeycol><localkeycol>stid</localkeycol><maxcount>10</maxcount><timeout>50</timeout><pname>syncupdate_ZHOBTCODE2</pname>"
$TOOLS/procctl 10 $TOOLS/syncincrementex /log/idc/syncincrementex_ZHOBTMIND3.log "<localconnstr>127.0.0.1,root,db-sekrit,mysql,3306</localconnstr><remoteconnstr>10.0.0.9,root,db-sekrit,mysql,3306</remoteconnstr><charset>utf8</charset><remotetname>T_ZHOBTMIND1</remotetname><localtname>T_ZHOBTMIND3</localtname><remotecols>obtid,ddatetime,t,upttime,keyid</remotecols><localcols>stid,ddatetime,t,upttime,recid</localcols><where>and obtid like '54%%%%'</where><remotekeycol>keyid</remotekeycol><localkeycol>recid</localkeycol><timetvl>2</timetvl><timeout>30</timeout><pname>syncincrementex_ZHOBTMIND3</pname>"
$TOOLS/procctl 10 $TOOLS/webserver /log/idc/webserver.log 5088
su - wucz -c "/bin/sh -c '$TOOLS/procctl 3600 /usr/bin/tar zcvf /tmp/idc.tgz /project/idc'"
$TOOLS/procctl 600 /bin/sh -c 'df -k > /tmp/df.txt; date'
sleep 3
`;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'import-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function run(script: string, ...more: string[]): Promise<{ code: number; out: string; err: string }> {
  const file = join(folder, 'start.sh');
  await writeFile(file, script);
  const texts = { out: '', err: '' };
  const code = await cli(['import', file, '--out', join(folder, 'out'), ...more], {
    out: (text) => void (texts.out += `${text}\n`),
    err: (text) => void (texts.err += `${text}\n`),
    env: {},
    input: process.stdin,
  });
  return { code, ...texts };
}
const read = (name: string): Promise<string> => readFile(join(folder, 'out', name), 'utf8');

describe('import of a reference deployment', () => {
  it('makes a conf that is good, a report, and files with the passwords', async () => {
    const { code, out, err } = await run(SCRIPT);
    expect(err).toBe('');
    expect(code).toBe(0);
    const { config, problems } = await loadConf([join(folder, 'out', 'imported.conf')], {});
    expect(problems).toEqual([]);
    const stages = config.sections.filter(({ section }) => section === 'stage');
    expect(
      stages.map(
        ({ name, values }) => `${name}: ${String(values['type'])} ${Number(values['every']) / 1_000}`,
      ),
    ).toEqual([
      'generate: generate 60',
      'delete-files: delete-files 300',
      'gzip-files: gzip-files 300',
      'load-stations: load-stations 120',
      'load-obs: load-obs 10',
      'run-sqlplus: run 120',
      'dminingoracle_ZHOBTCODE: extract 3600',
      'dminingmysql_ZHOBTMIND_togxpt: extract 30',
      'xmltodb_vip: load 5',
      'deletetable_ZHOBTMIND1: purge 3600',
      'migratetable_ZHOBTMIND: archive 3600',
      'syncupdate_ZHOBTCODE2: sync-refresh 10',
      'syncincrementex_ZHOBTMIND3: sync-increment 2',
      'run-tar: run 3600',
      `run-line-${SCRIPT.split('\n').findIndex((line) => line.includes('df -k')) + 1}: run 600`,
    ]);
    const values = (name: string): Readonly<Record<string, unknown>> =>
      stages.find((stage) => stage.name === name)?.values ?? {};
    expect(values('generate')).toMatchObject({
      stations: '/project/idc/ini/stcode.ini',
      out: '/tmp/idc/surfdata',
    });
    expect(values('delete-files')).toMatchObject({
      path: ['/tmp/idc/surfdata'],
      match: ['*'],
      older_than: 1_728_000,
    });
    expect(values('load-stations')['store']).toBe('127.0.0.1,root,db-sekrit,mysql,3306');
    expect(values('load-obs')).toMatchObject({
      store: 'idc/ora-sekrit@snorcl11g_130',
      charset: 'utf-8',
      path: '/idcdata/surfdata',
    });
    expect(values('run-sqlplus')['command']).toBe(
      '/usr/bin/sqlplus -S idc/ora-sekrit\\@snorcl11g_130 \\@/project/idc/sql/deletetable.sql',
    );
    expect(values('dminingmysql_ZHOBTMIND_togxpt')).toMatchObject({
      inc_field: 'keyid', file_rows: 1_000, heartbeat: 30_000, out: '/idcdata/dmindata', inc_store: '127.0.0.1,root,db-sekrit,mysql,3306',
      sql: "select obtid,date_format(ddatetime,'%%Y-%%m-%%d %%H:%%i:%%s'),t,keyid from T_ZHOBTMIND where keyid>:1 and ddatetime>timestampadd(minute,-120,now())",
    }); // prettier-ignore
    expect(values('deletetable_ZHOBTMIND1')).toMatchObject({ table: 'T_ZHOBTMIND1', hours: ['02', '13'], where: 'where ddatetime<timestampadd(minute,-120,now())' }); // prettier-ignore
    expect(values('migratetable_ZHOBTMIND')).toMatchObject({
      table: 'T_ZHOBTMIND',
      target_table: 'T_ZHOBTMIND_HIS',
      batch_rows: 100,
    });
    expect(values('syncupdate_ZHOBTCODE2')).toMatchObject({
      link_table: 'LK_ZHOBTCODE1',
      target_table: 'T_ZHOBTCODE2',
      mode: '2',
    });
    expect(config.sections.find(({ section }) => section === 'actor')?.values).toMatchObject({
      type: 'data-api',
    });
    expect(out).toContain(
      'line 11: ftpgetfiles: ftpgetfiles is not yet available here; it stands in the conf as a comment',
    );
    expect(out).toContain('line 7: checkproc: checkproc is not needed');
    expect(out).toContain('sleep: left out: it is not started by procctl');
  }, 60_000);

  it('keeps passwords out of the conf, the report and the terminal', async () => {
    const { out, err } = await run(SCRIPT);
    const texts = [out, err, await read('imported.conf'), await read('report.txt')];
    for (const text of texts) expect(text).not.toContain('sekrit');
    expect(await read('imported.conf')).toMatch(/^store = file:secrets\/load-stations-store$/m);
    const secrets = await readdir(join(folder, 'out', 'secrets'));
    expect(secrets).toContain('line-11-ftpgetfiles');
    for (const file of secrets) {
      expect((await stat(join(folder, 'out', 'secrets', file))).mode & 0o777).toBe(0o600);
    }
    expect((await stat(join(folder, 'out', 'secrets'))).mode & 0o777).toBe(0o700);
    // One file for a connection string, however often it is used.
    const contents = await Promise.all(secrets.map((file) => read(join('secrets', file))));
    expect(contents.filter((text) => text === 'idc/ora-sekrit@snorcl11g_130\n')).toHaveLength(1);
  }, 60_000);

  it('writes over nothing, and says what it cannot read', async () => {
    await run('/t/procctl 5 /bin/date\n');
    expect(await run('/t/procctl 5 /bin/date\n')).toMatchObject({ code: 73 });
    await rm(join(folder, 'out'), { recursive: true });
    expect((await run("/t/procctl 5 '/bin/date\n")).err).toMatch(/line 1: the quote ' is never closed/);
    expect((await run('x', '--oot', 'y')).code).toBe(64);
    expect((await run('x', 'another')).code).toBe(64);
  });

  it('tells what is odd about a line and goes on', async () => {
    const script = '/t/procctl x /bin/date\n/t/procctl 0 /bin/date\n/t/procctl 9 /t/xmltodb /log/x.log "no tags"\n' +
      '/t/procctl 9 /t/deletefiles /tmp\n/t/procctl 9 /t/deletetable /l "<connstr>sqlite:a.db</connstr><tname>t</tname><where>where 1=1</where><nosuch>1</nosuch>"\n'; // prettier-ignore
    const { code, out } = await run(script);
    expect(code).toBe(0);
    expect(out.split('\n').slice(0, -2)).toEqual([
      'line 1: procctl: left out: procctl takes a number of seconds and a program',
      'line 2: procctl: a pause of 0 s would run it without end: it is 1 s here',
      'line 2: date: -> [stage run-date]',
      'line 3: xmltodb: xmltodb has no parameter string; it stands in the conf as a comment',
      'line 4: deletefiles: deletefiles needs 3 arguments, there are 1; it stands in the conf as a comment',
      'line 5: deletetable: -> [stage purge]',
      'line 5: deletetable: <nosuch> has no meaning here',
    ]);
    expect(await read('imported.conf')).toContain('store = sqlite:a.db');
  });
});

describe('a program whose stage there is not yet', () => {
  const script = '/t/procctl 120 /t/execsql /idc/cleardata.sql "127.0.0.1,root,pw,db,3306" utf8 /log/x.log\n';

  it('waits as a comment until there is one', () => {
    const before = importScript(script, () => undefined);
    expect(before.conf).toContain('# [stage line-1-execsql]');
    expect([before.done, before.left]).toEqual([0, 1]);
    expect(before.report[0]?.text).toBe(
      'execsql: the stage exec-sql is not yet available; it stands in the conf as a comment',
    );
  });

  it('goes by the names or the aliases of its keys', () => {
    const keys = defineKeys({
      script: { type: 'path', help: 'Statements', reload: 'child' },
      database: { type: 'secret', help: 'Database', reload: 'child', aliases: ['connstr'] },
    });
    const { conf, secrets } = importScript(script, () => keys);
    expect(conf).toContain('script = /idc/cleardata.sql\ndatabase = file:secrets/exec-sql-database\n');
    expect(secrets.get('exec-sql-database')).toBe('127.0.0.1,root,pw,db,3306');
  });
});
