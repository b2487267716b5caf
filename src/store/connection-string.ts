/** Connection strings of the reference systems (spec data-centre 1.8) as URLs. Pure; any thread. */

/** Other programs' names of our schemes. */
const ALIASES: Readonly<Record<string, string>> = { postgresql: 'postgres', mariadb: 'mysql' };

/**
 * `ip,user,password,database,port` is MySQL, `user/password@name` is Oracle; `postgresql:` is `postgres:`, `mariadb:` is `mysql:`;
 * anything else comes back as it is.
 * The parts are percent-encoded, so a password may hold any character but the separators of its form.
 */
export function fromConnectionString(text: string): string {
  const trimmed = text.trim();
  const scheme = /^([a-z0-9+]+):/i.exec(trimmed)?.[1];
  if (scheme !== undefined) return (ALIASES[scheme.toLowerCase()] ?? scheme) + trimmed.slice(scheme.length);
  const parts = trimmed.split(',').map((part) => part.trim());
  const [host = '', user = '', password = '', database = '', port = '3306'] = parts;
  if (parts.length >= 4 && parts.length <= 5 && /^\d+$/.test(port)) {
    const login = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
    return `mysql://${login}@${host}:${port}/${encodeURIComponent(database)}`;
  }
  // A password may hold "@", a TNS name cannot.
  const oracle = /^([^/\s]+)\/(.+)@([^@\s]+)$/.exec(trimmed);
  if (oracle !== null) {
    const [, name = '', secret = '', tns = ''] = oracle;
    return `oracle://${encodeURIComponent(name)}:${encodeURIComponent(secret)}@${tns}`;
  }
  return trimmed;
}
