'use strict';
(function () {
  var paused = false, shown = performance.now(), asked = shown;

  function name(node) { return node.href || node.id || node.parentNode.id; }

  function show(text) {
    var fresh = new DOMParser().parseFromString(text, 'text/html');
    var page = document.getElementById('page');
    var next = fresh.getElementById('page');
    if (!next) { throw new Late('has shown another page (a login?)'); }
    page.querySelectorAll('details[open]').forEach(function (details) {
      var same = next.querySelector('#' + details.id);
      if (same) { same.open = true; }
    });
    var focused = name(document.activeElement);
    var top = window.scrollY;
    page.replaceWith(document.adoptNode(next));
    document.title = fresh.title;
    window.scrollTo(0, top);
    begin();
    var again = Array.from(document.querySelectorAll('a, button, summary'))
      .find(function (node) { return name(node) === focused; });
    if (again) { again.focus({preventScroll: true}); }
  }

  function Late(what) { this.what = what; }

  function load() {
    // Of a tab in the background one sees the title.
    if (paused || (document.hidden && performance.now() - asked < 60000)) {
      return wait();
    }
    asked = performance.now();
    var stop = new AbortController();
    var timer = setTimeout(function () { stop.abort(); }, 15000);
    fetch(location.href, {signal: stop.signal, cache: 'no-store'})
      .then(function (response) {
        if (!response.ok) { throw new Late('has said ' + response.status); }
        return response.text();
      })
      .then(function (text) {
        if (!paused) { show(text); }
        shown = performance.now();
      })
      .catch(function (error) {
        var loaded = document.getElementById('loaded');
        loaded.className = 'late';
        loaded.textContent = 'The site ' +
          (error instanceof Late ? error.what : 'has not answered') + ' for ' +
          Math.round((performance.now() - shown) / 1000) + ' s';
        document.title = '? memcached';
      })
      .finally(function () { clearTimeout(timer); wait(); });
  }

  function wait() {
    var page = document.getElementById('page');
    setTimeout(load, 1000 * page.dataset.interval);
  }

  function begin() {
    var button = document.getElementById('pause');
    button.hidden = false;
    function label() {
      button.textContent = paused ? 'Go on' : 'Pause';
      button.setAttribute('aria-pressed', String(paused));
    }
    button.addEventListener('click', function () {
      paused = !paused;
      label();
    });
    label();
  }

  begin();
  wait();
}());
